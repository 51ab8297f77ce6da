// The shipped demo model against an independent implementation's logits and answers.
#include "backend/registry/make_backend.h"
#include "model/registry.h"
#include "tests/demo_answers.h"

namespace strata {
namespace {

class Demo : public testing::Test {
 protected:
  const std::unique_ptr<Backend> backend = make_backend({});
  const std::unique_ptr<Model> model = load_model(Checkpoint::open(kDemo), *backend);
  ModelRunner runner{*model, *backend, {}};
};

TEST_F(Demo, LogitsAreCloseToTheReference) { expect_demo_logits(runner); }

TEST_F(Demo, AnswersAreTheReferences) { expect_demo_answers(runner); }

}  // namespace
}  // namespace strata
