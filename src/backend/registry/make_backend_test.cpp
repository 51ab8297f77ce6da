#include "backend/registry/make_backend.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace strata {
namespace {

std::string refusal(const BackendOptions& options) {
  try {
    make_backend(options);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage);
    return e.what();
  }
  return {};
}

TEST(ChooseBackend, AutoIsTheGpuWhereThereIsOne) {
  const BackendChoice choice = choose_backend("auto", "");
  EXPECT_EQ(choice.name, "cuda");
  EXPECT_EQ(choice.reason, "auto: there is a usable GPU");
}

TEST(ChooseBackend, AutoSaysWhyThereIsNoGpu) {
  const BackendChoice choice = choose_backend("auto", "this machine has no GPU; buy one");
  EXPECT_EQ(choice.name, "cpu");
  EXPECT_EQ(choice.reason, "auto: this machine has no GPU");
}

TEST(ChooseBackend, ANameIsNoChoice) {
  for (const char* name : {"cpu", "cuda", "reference", "tpu"}) {
    const BackendChoice choice = choose_backend(name, "this machine has no GPU");
    EXPECT_EQ(choice.name, name);
    EXPECT_EQ(choice.reason, "");
  }
}

TEST(MakeBackend, AutoMakesOneThatIsThere) {
  EXPECT_EQ(make_backend({.name = "auto"})->name(), available_backends()[0]);
}

TEST(MakeBackend, FastIsRefusedWhereThereIsNoFastMode) {
  for (const char* name : {"cpu", "reference"})
    EXPECT_EQ(refusal({.name = name, .numerics = "fast"}),
              "the " + std::string(name) + " backend is exact only; leave out --numerics fast, or use --backend cuda");
  if (!why_no_cuda().empty()) {
    EXPECT_NE(refusal({.name = "auto", .numerics = "fast"}).find("the cpu backend (auto: "), std::string::npos);
  }
}

TEST(MakeBackend, UnknownWordsAreRefused) {
  EXPECT_NE(refusal({.name = "tpu"}).find("there is no backend \"tpu\""), std::string::npos);
  EXPECT_NE(refusal({.numerics = "sloppy"}).find("there are no numerics \"sloppy\""), std::string::npos);
}

}  // namespace
}  // namespace strata
