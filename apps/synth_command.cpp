#include "apps/synth_command.h"

#include <cctype>
#include <chrono>
#include <cmath>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include "apps/progress.h"
#include "base/error.h"
#include "base/json.h"
#include "validation/synthetic.h"

namespace strata {
namespace {

struct Options {
  std::string config_dir, out_dir, shard_size = "4G";
  SyntheticOptions synthetic;
  bool json = false;
};

/// "500M", "4G", "1.5GiB", "123": bytes; K, M, G, T are powers of 1024.
std::int64_t parse_bytes(const std::string& text) {
  std::size_t end = 0;
  double value = -1;
  try {
    value = std::stod(text, &end);
  } catch (const std::exception&) {
  }
  std::string unit = text.substr(end);
  for (const char* tail : {"iB", "B"}) {
    if (unit.ends_with(tail)) {
      unit.resize(unit.size() - std::string_view(tail).size());
      break;
    }
  }
  const std::string units = "KMGT";
  const std::size_t power = unit.size() == 1 ? units.find(static_cast<char>(std::toupper(unit[0]))) : 0;
  const double bytes = value * std::pow(1024.0, unit.empty() ? 0 : static_cast<double>(power) + 1);
  if (unit.size() > 1 || power == std::string::npos || !(bytes >= 1 && bytes < 9e18))
    throw Error(ErrorCode::usage, "--shard-size: expected a size as 500M or 4G, found \"" + text + "\"");
  return static_cast<std::int64_t>(bytes);
}

void synth(Options& options) {
  options.synthetic.shard_bytes = parse_bytes(options.shard_size);
  const auto start = std::chrono::steady_clock::now();
  const SyntheticSummary summary = write_synthetic_checkpoint(options.config_dir, options.out_dir, options.synthetic);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (options.json) {
    std::cout << Json{{"folder", options.out_dir}, {"tensors", summary.tensors}, {"shards", summary.shards},
                      {"bytes", summary.bytes},    {"seconds", seconds},         {"seed", options.synthetic.seed}}
                     .dump()
              << '\n';
    return;
  }
  const auto bytes = static_cast<double>(summary.bytes);
  std::cout << options.out_dir << ": " << format_count(summary.tensors) << " tensors, " << format_bytes(bytes) << " in "
            << summary.shards << (summary.shards == 1 ? " file, " : " shards, ") << std::round(seconds * 100) / 100
            << " s, " << format_bytes(bytes / seconds) << "/s\n";
}

}  // namespace

void add_synth_command(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* synth_command = program.add_subcommand(
      "synth", "Write a checkpoint of random weights for a config.json, to measure loading and speed with.");
  synth_command->add_option("CONFIG_DIR", options->config_dir, "Folder with config.json, perhaps hf_quant_config.json")
      ->required();
  synth_command->add_option("OUT_DIR", options->out_dir, "Folder to write the checkpoint to")->required();
  synth_command->add_option("--seed", options->synthetic.seed, "The same seed gives the same bytes")
      ->capture_default_str();
  synth_command->add_option("--shard-size", options->shard_size, "Largest file, as 500M or 4G")->capture_default_str();
  synth_command->add_option("--threads", options->synthetic.threads, "0: all that this process may run on")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  synth_command->add_flag("--force", options->synthetic.replace, "Overwrite a checkpoint in OUT_DIR");
  synth_command->add_flag("--json", options->json, "Print what was written as JSON");
  synth_command->callback([options] { synth(*options); });
}

}  // namespace strata
