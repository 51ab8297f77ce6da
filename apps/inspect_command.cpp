#include "apps/inspect_command.h"

#include <iostream>
#include <memory>
#include <string>

#include "apps/checkpoint_facts.h"
#include "apps/model_options.h"
#include "apps/progress.h"

namespace strata {
namespace {

std::string bytes_text(const Json& bytes) { return format_bytes(bytes.get<double>()); }
std::string count_text(const Json& count) { return format_count(count.get<std::int64_t>()); }

std::string shape_text(const Json& shape) {
  std::string text;
  for (const Json& n : shape) text += (text.empty() ? "" : " x ") + n.dump();
  return text;
}

/// `text` and blanks up to `width`.
std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text;
}

void print_layers(const Json& layers) {
  std::cout << "layers        " << layers["total"] << ":";
  for (const char* kind : {"mamba", "moe", "attention", "mlp"}) {
    if (layers[kind] != 0) std::cout << ' ' << layers[kind] << ' ' << kind;
  }
  std::cout << "   " << layers["pattern"].get<std::string>() << '\n';
  if (layers["mamba"] != 0) {
    const Json& m = layers["mamba_heads"];
    std::cout << "mamba         " << m["heads"] << " heads of " << m["head_dim"] << ", " << m["groups"]
              << " groups, state of " << m["state_size"] << '\n';
  }
  if (layers["attention"] != 0) {
    const Json& a = layers["attention_heads"];
    std::cout << "attention     " << a["query"] << " heads of " << a["head_dim"] << ", " << a["key_value"]
              << " of keys and values\n";
  }
  if (const Json& e = layers["experts"]; !e.is_null()) {
    std::cout << "experts       " << e["per_token"] << " of " << e["routed"] << ", width " << e["intermediate_size"];
    if (e["latent_size"] != 0) std::cout << " on a latent of " << e["latent_size"];
    if (e["shared_intermediate_size"] != 0) std::cout << ", a shared one of " << e["shared_intermediate_size"];
    std::cout << '\n';
  }
}

void print_quantisation(const Json& quantisation) {
  const Json& declared = quantisation["declared"];
  std::cout << "quantisation  " << (declared.is_null() ? "none declared" : declared.get<std::string>())
            << "; keys and values " << quantisation["kv_cache"].get<std::string>() << '\n';
  for (const Json& c : quantisation["classes"]) {
    std::string formats;
    for (const auto& [format, count] : c["formats"].items())
      formats += (formats.empty() ? "" : ", ") + count.dump() + " " + format;
    std::cout << "  " << padded(c["class"].get<std::string>(), 34) << ' ' << padded(shape_text(c["shape"]), 20) << ' '
              << padded(formats, 24) << ' ' << bytes_text(c["stored_bytes"]) << '\n';
  }
}

void print_text_side(const Json& facts) {
  const Json &chat = facts["template"], &tokenizer = facts["tokenizer"];
  std::cout << "template      ";
  if (chat.is_null()) {
    std::cout << "none\n";
  } else if (chat.contains("error")) {
    std::cout << "unusable: " << chat["error"].get<std::string>() << '\n';
  } else {
    std::cout << bytes_text(chat["bytes"]) << (chat["thinking"] == true ? ", thinking" : "")
              << (chat["tools"] == true ? ", tools" : "") << '\n';
  }
  std::cout << "tokenizer     ";
  if (tokenizer.is_null()) {
    std::cout << "none\n";
  } else if (tokenizer.contains("error")) {
    std::cout << "unusable: " << tokenizer["error"].get<std::string>() << '\n';
  } else {
    std::cout << count_text(tokenizer["vocab_size"]) << " tokens (" << tokenizer["added_tokens"] << " added), "
              << count_text(tokenizer["merges"]) << " merges, normalizer " << tokenizer["normalizer"].get<std::string>()
              << (tokenizer["adds_bos"] == true ? ", adds a BOS" : "") << '\n';
  }
}

void print(const Json& facts) {
  const Json &a = facts["architecture"], &files = facts["files"], &memory = facts["memory"];
  std::cout << "model         " << facts["model"].get<std::string>() << "\narchitecture  "
            << a["name"].get<std::string>() << ", " << count_text(a["parameters"]) << " parameters, hidden "
            << a["hidden_size"] << ", vocabulary " << count_text(a["vocab_size"]) << ", context "
            << count_text(a["max_context"]) << '\n';
  print_layers(facts["layers"]);
  std::cout << "files         " << bytes_text(files["bytes"]) << ", " << count_text(files["tensors"]) << " tensors in "
            << files["shards"] << (files["shards"] == 1 ? " file\n" : " files\n");
  if (files["unused_mtp_tensors"] != 0)
    std::cout << "mtp           " << files["unused_mtp_tensors"]
              << " tensors of multi-token prediction, which Strata doesn't run: not loaded\n";
  print_quantisation(facts["quantisation"]);
  std::cout << "memory        weights " << bytes_text(memory["weight_bytes"]) << " ("
            << memory["backend"].get<std::string>() << "); a sequence: convolutions "
            << bytes_text(memory["conv_bytes_per_sequence"]) << ", SSM " << bytes_text(memory["ssm_bytes_per_sequence"])
            << ", keys and values " << count_text(memory["kv_bytes_per_token"]) << " B a token ("
            << memory["kv_type"].get<std::string>() << "), " << bytes_text(memory["bytes_per_sequence_at_max_context"])
            << " in all at its longest\n";
  print_text_side(facts);
  if (facts.contains("tensors")) {
    std::cout << "tensors\n";
    for (const Json& t : facts["tensors"])
      std::cout << "  " << padded(t["name"].get<std::string>(), 56) << ' ' << padded(shape_text(t["shape"]), 20) << ' '
                << padded(t["format"].get<std::string>(), 8) << ' ' << bytes_text(t["bytes"]) << '\n';
  }
  for (const Json& warning : facts["warnings"]) std::cout << "note          " << warning.get<std::string>() << '\n';
  for (const Json& c : facts["quantisation"]["contradictions"])
    std::cout << "note          " << c.get<std::string>() << '\n';
  for (const Json& p : facts["problems"]) std::cout << "problem       " << p.get<std::string>() << '\n';
  if (!facts["problems"].empty()) std::cout << "strata validate MODEL looks at every value too\n";
}

}  // namespace

void add_inspect_command(CLI::App& program) {
  struct Options {
    std::string model;
    bool json = false, tensors = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand(
      "inspect", "Show architecture, layers, quantisation, memory, template and tokenizer, without loading weights.");
  command->add_option("MODEL,-m,--model", options->model,
                      "A model folder or org/name of the Hugging Face cache; none: the demo");
  command->add_flag("--tensors", options->tensors, "List every weight, by layer");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] {
    const Json facts = checkpoint_facts(model_folder(options->model), options->tensors);
    if (options->json) {
      std::cout << facts.dump(2) << '\n';
    } else {
      print(facts);
    }
  });
}

}  // namespace strata
