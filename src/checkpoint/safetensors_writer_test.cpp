// What the writer writes is read back; what it can't write never stands at its path.
#include "checkpoint/safetensors_writer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "base/file.h"
#include "checkpoint/test_folder.h"

namespace strata {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

TEST(SafetensorsWriter, WritesWhatIsReadBack) {
  const TestFolder folder;
  const auto path = folder.path() / "w.safetensors";
  SafetensorsWriter writer(
      path, {{"z", StoredType::U8, {3}}, {"s", StoredType::F32, {}}, {"e\"\xC3\xA9", StoredType::BF16, {0, 5}}},
      {{"format", "pt"}});
  writer.append(bytes("x"));
  writer.append(bytes("yz01"));
  writer.append({});
  writer.append(bytes("23"));
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.finish();
  const auto tensors = read_safetensors(path);
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "e\"\xC3\xA9");
  EXPECT_EQ(tensors[0].description(), "BF16 [0, 5]");
  EXPECT_EQ(tensors[2].name, "z");
  char text[4];
  tensors[1].bytes.read(0, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(std::string_view(text, 4), "0123");
  const std::string file = read_text(path, 1000);
  EXPECT_NE(file.find(R"("__metadata__":{"format":"pt"})"), std::string::npos);
  EXPECT_EQ(file[0] % 8, 0) << "the data begins at a multiple of 8";
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".partial"));
}

TEST(SafetensorsWriter, TensorsLargerThanTheBufferArrive) {
  const TestFolder folder;
  const auto path = folder.path() / "w.safetensors";
  const std::string data(3'000'001, 'q');
  SafetensorsWriter writer(path, {{"a", StoredType::U8, {3'000'001}}});
  writer.append(bytes(data));
  writer.finish();
  std::string back(data.size(), '\0');
  read_safetensors(path)[0].bytes.read(0, std::as_writable_bytes(std::span(back)));
  EXPECT_EQ(back, data);
}

TEST(SafetensorsWriter, NoTensorsMakeAnEmptyFile) {
  const TestFolder folder;
  SafetensorsWriter(folder.path() / "w.safetensors", {}).finish();
  EXPECT_TRUE(read_safetensors(folder.path() / "w.safetensors").empty());
}

TEST(SafetensorsWriter, AnUnfinishedFileLeavesNothing) {
  const TestFolder folder;
  const auto path = folder.write("w.safetensors", "what was there");
  {
    SafetensorsWriter writer(path, {{"a", StoredType::U8, {2}}});
    writer.append(bytes("x"));
    EXPECT_TRUE(std::filesystem::exists(path.string() + ".partial"));
  }
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".partial"));
  EXPECT_EQ(read_text(path, 100), "what was there");
}

TEST(SafetensorsWriter, AWriteErrorIsAFailureAndLeavesNothing) {
  const TestFolder folder;
  const auto path = folder.path() / "w.safetensors";
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1 << 20, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string data(3 << 20, 'q');
  const std::string message = message_of(
      [&] {
        SafetensorsWriter writer(path, {{"a", StoredType::U8, {3 << 20}}});
        writer.append(bytes(data));
        writer.finish();
      },
      ErrorCode::failure);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  expect_parts(message, {path.string(), "can't be written"});
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SafetensorsWriter, PlacesThatCantBeWrittenAreFailures) {
  const TestFolder folder;
  expect_parts(message_of([&] { SafetensorsWriter(folder.path() / "no" / "w.safetensors", {}); }, ErrorCode::failure),
               {"w.safetensors", "can't be created"});
  std::filesystem::create_directories(folder.path() / "taken" / "x");
  expect_parts(message_of([&] { SafetensorsWriter(folder.path() / "taken", {}).finish(); }, ErrorCode::failure),
               {"taken", "can't be put in its place"});
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "taken.partial"));
}

TEST(SafetensorsWriter, SizesThatOverflowAreFailures) {
  const TestFolder folder;
  const std::vector<SafetensorsWriter::Tensor> tensors = {{"a", StoredType::U8, {std::int64_t{1} << 62}},
                                                          {"b", StoredType::U8, {std::int64_t{1} << 62}}};
  expect_parts(message_of([&] { SafetensorsWriter(folder.path() / "w", tensors); }, ErrorCode::failure),
               {"tensor \"b\"", "2^63"});
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SafetensorsWriterDeathTest, WritingOtherThanWhatWasDeclaredIsABug) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const TestFolder folder;
  const auto path = folder.path() / "w.safetensors";
  EXPECT_DEATH(SafetensorsWriter(path, {{"a", StoredType::U8, {1}}}).append(bytes("xy")), "more bytes");
  EXPECT_DEATH(SafetensorsWriter(path, {{"a", StoredType::U8, {1}}}).finish(), "all declared bytes");
  EXPECT_DEATH(SafetensorsWriter(path, {{"a", StoredType::U8, {1}}, {"a", StoredType::U8, {1}}}), "name of its own");
}

}  // namespace
}  // namespace strata
