#include "engine/memory_plan.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "backend/registry/make_backend.h"
#include "base/error.h"
#include "engine/engine_test_fakes.h"
#include "model/registry.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

const fs::path kTiny = STRATA_SOURCE_DIR "/tests/fixtures/checkpoints/tiny-nano-nvfp4";
constexpr std::int64_t kPlenty = std::int64_t{1} << 40;

TEST(MemoryPlan, IsWhatAnEngineTakes) {
  const FakeModel model;
  for (const EngineOptions& options :
       {EngineOptions{.context = 100}, EngineOptions{.max_sequences = 3, .context = 65, .spare_slots = 2},
        EngineOptions{.max_sequences = 2, .context = 128, .kv_tokens = 200, .chunk = 7, .steps_in_flight = 2}}) {
    FakeBackend backend;
    const Engine engine(model, backend, options);
    const MemoryPlan plan = plan_memory(5, model, backend, options, kPlenty);
    EXPECT_EQ(plan.state + plan.kv + plan.workspace, backend.allocated);
    EXPECT_EQ(plan.scratch, 0);
    EXPECT_EQ(plan.total(), 5 + backend.allocated + kProgramAllowance);
    EXPECT_TRUE(plan.fits());
  }
}

class TinyPlan : public testing::Test {
 protected:
  MemoryPlan plan(std::int64_t sequences, std::int64_t context, std::int64_t available) {
    const EngineOptions options{.max_sequences = sequences, .context = context, .chunk = 64, .spare_slots = 1};
    return plan_memory(1 << 20, *model, *backend, options, available);
  }
  const std::unique_ptr<Backend> backend = make_backend({.threads = 2});
  WeightList list;
  const std::unique_ptr<Model> model = bind_model(Checkpoint::open(kTiny), list);
};

TEST_F(TinyPlan, TheLargestFitsAndOneMoreDoesNot) {
  const std::int64_t least = plan(2, 1, kPlenty).total();
  const std::int64_t page = plan(2, 65, kPlenty).total() - least;
  ASSERT_GT(page, 0);
  const MemoryPlan tight = plan(2, 1000, least + page + page / 2);
  EXPECT_FALSE(tight.fits());
  EXPECT_EQ(tight.largest_context, 2 * kPageSize);
  EXPECT_TRUE(plan(2, tight.largest_context, tight.available).fits());
  EXPECT_FALSE(plan(2, tight.largest_context + 1, tight.available).fits());

  const MemoryPlan four = plan(1, 64, plan(4, 64, kPlenty).total());
  EXPECT_EQ(four.largest_sequences, 4);
  EXPECT_EQ(plan(1, 64, four.available - 1).largest_sequences, 3);
}

TEST_F(TinyPlan, TheModelsLongestContextIsTheLimitWhereMemoryIsNot) {
  EXPECT_EQ(plan(1, 1, kPlenty).largest_context, model->max_context());
}

TEST_F(TinyPlan, NothingFitsIntoNothing) {
  const MemoryPlan none = plan(1, 1, 0);
  EXPECT_FALSE(none.fits());
  EXPECT_EQ(none.largest_context, 0);
  EXPECT_EQ(none.largest_sequences, 0);
}

TEST_F(TinyPlan, RefusesWhatAnEngineWould) {
  EXPECT_THROW(plan(1, 0, kPlenty), Error);
  EXPECT_THROW(plan(1, model->max_context() + 1, kPlenty), Error);
  EXPECT_THROW(plan(0, 1, kPlenty), Error);
}

TEST_F(TinyPlan, WeightBytesAreWhatLoadingTakes) {
  const Checkpoint checkpoint = Checkpoint::open(kTiny);
  CheckpointWeights weights(checkpoint), loaded(checkpoint);
  WeightStore store(loaded, *backend);
  std::int64_t bytes = 0;
  for (const WeightRequest& r : list.requests()) {
    if (r.kind == WeightRequest::Kind::linear) bytes += store.linear(r.name, r.rows, r.cols)->packed_bytes;
    if (r.kind == WeightRequest::Kind::experts) {
      bytes += store.experts(r.name, r.projection, r.n, r.rows, r.cols)->packed_bytes;
    }
    if (r.kind == WeightRequest::Kind::vector) bytes += 4 * store.vector(r.name, r.rows).size;
    if (r.kind == WeightRequest::Kind::table) bytes += 4 * store.table(r.name, r.rows, r.cols).rows * r.cols;
  }
  EXPECT_EQ(weight_bytes(list.requests(), weights, *backend), bytes);
}

class AvailableMemory : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(root);
    write("proc/meminfo", "MemTotal: 4000 kB\nMemFree: 10 kB\nMemAvailable:    2000 kB\n");
  }
  void TearDown() override { fs::remove_all(root); }
  void write(const fs::path& path, const std::string& text) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
  const fs::path root = fs::path(testing::TempDir()) / ("strata_available_memory_" + std::to_string(getpid()));
};

TEST_F(AvailableMemory, IsTheKernelsEstimateWithoutALimit) {
  EXPECT_EQ(available_memory(root), 2000 * 1024);
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.max", "max\n");
  write("sys/fs/cgroup/memory.current", "1\n");
  EXPECT_EQ(available_memory(root), 2000 * 1024);
}

TEST_F(AvailableMemory, IsWhatTheNarrowestGroupHasLeft) {
  write("proc/self/cgroup", "0::/outer/inner\n");
  write("sys/fs/cgroup/outer/memory.max", "1000000\n");
  write("sys/fs/cgroup/outer/memory.current", "300000\n");
  write("sys/fs/cgroup/outer/memory.stat", "anon 5\ninactive_file 20000\nactive_file 1000\n");
  write("sys/fs/cgroup/outer/inner/memory.max", "900000\n");
  write("sys/fs/cgroup/outer/inner/memory.current", "100\n");
  EXPECT_EQ(available_memory(root), 721000);
  write("sys/fs/cgroup/outer/inner/memory.current", "900001\n");
  EXPECT_EQ(available_memory(root), 0);
}

TEST_F(AvailableMemory, KnowsTheFirstVersionOfGroups) {
  write("proc/self/cgroup", "12:cpu,cpuacct:/x\n9:memory:/job\n0::/\n");
  write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "500000\n");
  write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "400000\n");
  write("sys/fs/cgroup/memory/job/memory.stat", "inactive_file 7\ntotal_inactive_file 1000\n");
  EXPECT_EQ(available_memory(root), 101000);
}

}  // namespace
}  // namespace strata
