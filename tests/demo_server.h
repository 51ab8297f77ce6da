// The demo model behind a Generator, its engine running, for tests.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "backend/registry/make_backend.h"
#include "checkpoint/checkpoint.h"
#include "engine/engine.h"
#include "model/registry.h"
#include "server/generation/generator.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace strata {

class DemoServer {
 public:
  /// `tune`: changes the engine's options.
  explicit DemoServer(const std::function<void(EngineOptions&)>& tune = {}, GeneratorOptions generator_options = {}) {
    EngineOptions options;
    options.max_sequences = 8;
    options.context = 2048;
    options.spare_slots = 8;
    if (tune) tune(options);
    engine = std::make_unique<Engine>(*model, *backend, options);
    generator_options.context = options.context;
    generator_options.stop_tokens = {tokenizer.find("<|im_end|>").value(), tokenizer.find("</s>").value()};
    generator_options.sampling = sampling_defaults(checkpoint.config(), checkpoint.generation_config());
    generator = std::make_unique<Generator>(*engine, tokenizer, &chat_template, std::move(generator_options));
    thread = std::jthread([this](const std::stop_token& stop) { engine->run(stop); });
  }

  const Checkpoint checkpoint = Checkpoint::open(STRATA_SOURCE_DIR "/models/demo");
  const Tokenizer tokenizer = Tokenizer::load(STRATA_SOURCE_DIR "/models/demo");
  const ChatTemplate chat_template = ChatTemplate::load(STRATA_SOURCE_DIR "/models/demo");
  const std::unique_ptr<Backend> backend = make_backend({});
  const std::unique_ptr<Model> model = load_model(checkpoint, *backend);
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Generator> generator;
  std::jthread thread;  // ends first
};

/// Keeps the events of a request and waits for its end.
class Listener {
 public:
  Generator::OnEvent callback() {
    return [this](ChoiceEvent event) {
      const std::lock_guard lock(mutex_);
      finished_ += std::holds_alternative<Finished>(event.event);
      events_.push_back(std::move(event));
      changed_.notify_all();
    };
  }

  /// The events of all choices, once each has finished; what there is after a minute.
  std::vector<ChoiceEvent> wait(int choices) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::minutes(1), [&] { return finished_ >= choices; });
    return events_;
  }
  /// Until there are so many events, or a minute has gone.
  void wait_for_events(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::minutes(1), [&] { return events_.size() >= count; });
  }
  std::size_t count() {
    const std::lock_guard lock(mutex_);
    return events_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ChoiceEvent> events_;
  int finished_ = 0;
};

}  // namespace strata
