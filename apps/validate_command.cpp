#include "apps/validate_command.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "apps/model_options.h"
#include "apps/progress.h"
#include "base/error.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "validation/files_check.h"
#include "validation/law.h"
#include "validation/reference_file.h"

namespace strata {
namespace {

constexpr std::int64_t kLargeModel = 2'000'000'000;  // bytes; beyond them the law is checked with less work
constexpr std::size_t kShown = 50;                   // problems in the text; --json has all

struct Options {
  ModelOptions model;
  std::string reference;
  double tolerance = 0;  // 0: by backend
  bool json = false;
};

struct Reference {
  ReferenceResult result;
  double tolerance = 0;
  bool ok = false;
  std::optional<std::int64_t> first_diverging_layer{};  // -1: the embedding
};

double tolerance_of(const Options& options) {
  if (options.tolerance > 0) return options.tolerance;
  return options.model.backend.name == "reference" ? 1e-4 : 0.12;
}

bool is_large(const Checkpoint& checkpoint) { return checkpoint.file_bytes() > kLargeModel; }

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void print_list(const char* word, const std::vector<std::string>& sentences) {
  for (std::size_t i = 0; i < std::min(sentences.size(), kShown); ++i)
    std::cout << "  " << word << ": " << sentences[i] << '\n';
  if (sentences.size() > kShown) std::cout << "  and " << sentences.size() - kShown << " more; --json lists all\n";
}

Json as_json(const FilesReport& files) {
  return {{"ok", files.problems.empty()},     {"tensors", files.tensors},   {"bytes", files.bytes},
          {"mtp_tensors", files.mtp_tensors}, {"problems", files.problems}, {"notes", files.notes}};
}

Json as_json(const LawReport& law, bool reduced) {
  return {{"ok", law.failures.empty()}, {"checks", law.checks}, {"reduced", reduced}, {"failures", law.failures}};
}

/// NaN and infinity, which JSON lacks, as null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json as_json(const Reference& r) {
  const Distance& d = r.result.logits;
  Json layers = Json::array();
  for (const double v : r.result.hidden_rel_l2) layers.push_back(number(v));
  return {{"ok", r.ok},
          {"tolerance", r.tolerance},
          {"rel_l2", number(d.rel_l2)},
          {"median_rel_l2", number(d.median_rel_l2)},
          {"max_abs", number(d.max_abs)},
          {"top1_agreement", d.top1_agreement},
          {"mean_kl", number(d.mean_kl)},
          {"greedy_matched", r.result.greedy_matched},
          {"greedy_total", r.result.greedy_total},
          {"first_diverging_layer", r.first_diverging_layer ? Json(*r.first_diverging_layer) : Json(nullptr)},
          {"hidden_rel_l2", layers}};
}

FilesReport report_files(const Options& options, const std::filesystem::path& folder) {
  const auto start = std::chrono::steady_clock::now();
  ThreadPool pool(options.model.backend.threads > 0 ? options.model.backend.threads : available_threads());
  FilesReport files = check_files(folder, pool);
  if (options.json) return files;
  const double seconds = seconds_since(start);
  std::printf("files      %s: %s tensors, %s in %.2f s, %s/s\n", files.problems.empty() ? "ok" : "BAD",
              format_count(files.tensors).c_str(), format_bytes(static_cast<double>(files.bytes)).c_str(), seconds,
              format_bytes(static_cast<double>(files.bytes) / seconds).c_str());
  std::fflush(stdout);
  print_list("problem", files.problems);
  print_list("note", files.notes);
  return files;
}

void print(const Reference& r) {
  const Distance& d = r.result.logits;
  std::printf(
      "reference  %s: relative L2 %.2e (at most %.2g), median %.2e, largest difference %.2e, top-1 %.1f %%, "
      "KL %.2e, greedy %lld of %lld tokens\n",
      r.ok ? "ok" : "FAILED", d.rel_l2, r.tolerance, d.median_rel_l2, d.max_abs, 100 * d.top1_agreement, d.mean_kl,
      static_cast<long long>(r.result.greedy_matched), static_cast<long long>(r.result.greedy_total));
  if (!r.first_diverging_layer) return;
  if (*r.first_diverging_layer < 0) {
    std::printf("  the embedding already differs by more than that\n");
  } else {
    std::printf("  layer %lld is the first whose output differs by more than that\n",
                static_cast<long long>(*r.first_diverging_layer));
  }
}

LawReport report_law(const Options& options, const Checkpoint& checkpoint, const Model& model, Backend& backend) {
  const bool reduced = is_large(checkpoint);
  ModelRunner runner(model, backend,
                     {.tokens = 256,
                      .sequences = reduced ? 3 : 4,
                      .context = std::min<std::int64_t>(256, model.max_context()),
                      .kv_type = kv_cache_type(checkpoint, options.model.kv_cache)});
  const auto start = std::chrono::steady_clock::now();
  LawReport law = check_law(runner, reduced ? LawOptions::reduced() : LawOptions{});
  if (options.json) return law;
  std::printf("law        %s: %lld checks in %.2f s%s\n", law.failures.empty() ? "ok" : "FAILED",
              static_cast<long long>(law.checks), seconds_since(start),
              reduced ? ", fewer and shorter ones because the model has more than 2 GB" : "");
  std::fflush(stdout);
  print_list("failure", law.failures);
  return law;
}

/// A reference's keys and values are those of a float32 model, so they are kept in bf16 unless fp8 is asked for.
Reference compare_with(const Options& options, const ReferenceFile& file, const Model& model, Backend& backend) {
  const std::int64_t context = std::ssize(file.input_ids) + std::ssize(file.greedy) + 1;
  if (context > model.max_context())
    throw Error(ErrorCode::usage, options.reference + ": has " + std::to_string(context) +
                                      " tokens, the model's context only " + std::to_string(model.max_context()));
  ModelRunner runner(model, backend,
                     {.tokens = std::min<std::int64_t>(512, context),
                      .sequences = 1,
                      .context = context,
                      .kv_type = options.model.kv_cache == "fp8" ? DType::f8_e4m3 : DType::bf16});
  Reference reference{.result = compare(runner, file), .tolerance = tolerance_of(options)};
  const Distance& d = reference.result.logits;
  reference.ok = d.finite && d.rel_l2 <= reference.tolerance;
  const auto& hidden = reference.result.hidden_rel_l2;
  const auto diverged =
      std::find_if(hidden.begin(), hidden.end(), [&](double v) { return !(v <= reference.tolerance); });
  if (diverged != hidden.end()) reference.first_diverging_layer = diverged - hidden.begin() - 1;
  return reference;
}

void validate(const Options& options) {
  const std::filesystem::path folder = model_folder(options.model.model);
  std::optional<ReferenceFile> reference_file;
  if (!options.reference.empty()) reference_file = ReferenceFile::read(options.reference);
  const FilesReport files = report_files(options, folder);
  Json report{{"model", folder.string()}, {"files", as_json(files)}, {"law", nullptr}, {"reference", nullptr}};
  auto print_json = [&] {
    if (options.json) std::cout << report.dump(2) << std::endl;
  };
  if (!files.problems.empty()) {
    print_json();
    throw Error(ErrorCode::bad_model, folder.string() + ": " + std::to_string(files.problems.size()) +
                                          (files.problems.size() == 1 ? " problem, " : " problems, the first: ") +
                                          files.problems[0]);
  }

  const Checkpoint checkpoint = Checkpoint::open(folder);
  const auto backend = make_backend(options.model.backend);
  refuse_unless_weights_fit(checkpoint, bind_skeleton(checkpoint, *backend));
  const auto model = load_with_progress(checkpoint, *backend);
  report["backend"] = backend->description();
  if (!options.json) std::printf("backend    %s\n", describe(*backend, options.model).c_str());
  LawReport law;
  if (options.model.backend.numerics == "exact") {
    law = report_law(options, checkpoint, *model, *backend);
    report["law"] = as_json(law, is_large(checkpoint));
  } else {
    report["law"] = nullptr;
    if (!options.json) std::printf("law        not checked: fast numerics don't keep it; --numerics exact does\n");
  }
  std::optional<Reference> reference;
  if (reference_file) {
    reference = compare_with(options, *reference_file, *model, *backend);
    report["reference"] = as_json(*reference);
    if (!options.json) print(*reference);
  }
  std::fflush(stdout);
  print_json();
  if (!law.failures.empty())
    throw Error(ErrorCode::gate_failed, "the law fails in " + std::to_string(law.failures.size()) + " of " +
                                            std::to_string(law.checks) + " checks, the first: " + law.failures[0]);
  if (reference && !reference->ok) {
    char text[160];
    std::snprintf(text, sizeof text, ": relative L2 is %.3g, expected at most %.3g; --tolerance sets another bound",
                  reference->result.logits.rel_l2, reference->tolerance);
    throw Error(ErrorCode::gate_failed, options.reference + text);
  }
}

}  // namespace

void add_validate_command(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand(
      "validate",
      "Check files, scales and values; that chunks, batches and forks leave the bits alone; and a reference.");
  add_model_options(*command, options->model);
  command->add_option("--reference", options->reference, "Safetensors with input_ids and logits to compare with");
  command
      ->add_option("--tolerance", options->tolerance,
                   "Largest relative L2 from the reference; 1e-4 for the reference backend, else 0.12")
      ->check(CLI::PositiveNumber);
  command->add_flag("--json", options->json, "Print a report as JSON");
  command->callback([options] { validate(*options); });
}

}  // namespace strata
