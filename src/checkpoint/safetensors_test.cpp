// Every rule of the safetensors container, and the words that its refusals are searched by.
#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "checkpoint/test_folder.h"

namespace strata {
namespace {

std::vector<TensorEntry> parse(std::string_view header, std::int64_t data_bytes) {
  return parse_safetensors_header(header, data_bytes, nullptr, 8, "w.safetensors");
}

/// A tensor "a" of one U8 whose fields are these.
std::string tensor_a(const std::string& fields) { return "{\"a\":{" + fields + "}}"; }

TEST(Safetensors, ReadsTensorsInTheOrderOfTheirNames) {
  const TestFolder folder;
  std::string file =
      safetensors_file(R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
                       R"("a":{"shape":[3],"data_offsets":[8,11],"dtype":"U8"}}  )",
                       11);
  file.replace(file.size() - 3, 3, "xyz");
  const auto tensors = read_safetensors(folder.write("w.safetensors", file));
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].type, StoredType::U8);
  EXPECT_EQ(tensors[0].elements(), 3);
  EXPECT_EQ(tensors[1].name, "b");
  EXPECT_EQ(tensors[1].shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(tensors[1].description(), "F32 [2, 1]");
  EXPECT_EQ(tensors[1].bytes.size(), 8);
  char bytes[3];
  tensors[0].bytes.read(0, std::as_writable_bytes(std::span(bytes)));
  EXPECT_EQ(std::string_view(bytes, 3), "xyz");
}

TEST(Safetensors, RankZeroAndEmptyTensorsAreFine) {
  const auto tensors = parse(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                             R"("e":{"dtype":"F32","shape":[7,0],"data_offsets":[0,0]},)"
                             R"("z":{"dtype":"I64","shape":[0],"data_offsets":[4,4]}})",
                             4);
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].elements(), 0);
  EXPECT_EQ(tensors[1].elements(), 1);
  EXPECT_EQ(tensors[1].description(), "F32 []");
  EXPECT_TRUE(parse("{}", 0).empty());
  EXPECT_TRUE(parse("{}     ", 0).empty());
}

TEST(Safetensors, EveryTypeHasItsNameAndSize) {
  const std::pair<const char*, int> types[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
                                               {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
                                               {"U32", 4},  {"F32", 4}, {"F64", 8}, {"I64", 8},     {"U64", 8}};
  for (const auto& [name, size] : types) {
    const auto tensors = parse(tensor_a("\"dtype\":\"" + std::string(name) + "\",\"shape\":[1],\"data_offsets\":[0," +
                                        std::to_string(size) + "]"),
                               size);
    EXPECT_EQ(name_of(tensors[0].type), name);
    EXPECT_EQ(size_of(tensors[0].type), size);
  }
}

struct BadFile {
  const char* claim;
  std::string bytes;
  std::vector<std::string> parts;
};

TEST(Safetensors, FilesThatContradictTheirHeaderLengthAreRefused) {
  const std::vector<BadFile> cases = {
      {"empty", "", {"HeaderTooSmall", "at least 8 bytes", "found 0"}},
      {"seven bytes", "1234567", {"HeaderTooSmall", "found 7"}},
      {"no header", std::string(8, '\0'), {"HeaderTooSmall", "at least 2 bytes"}},
      {"one byte", safetensors_file("{", 0), {"HeaderTooSmall", "length of 1"}},
      {"too large", std::string("\x01\xE1\xF5\x05\0\0\0\0{}", 10), {"HeaderTooLarge", "100000001"}},
      {"absurd", std::string(8, '\xFF') + "{}", {"HeaderTooLarge", "18446744073709551615"}},
      {"longer than the file",
       std::string("\x03\0\0\0\0\0\0\0{}", 10),
       {"InvalidHeaderLength", "of 3 bytes", "a file of 10 bytes"}},
      {"largest length", std::string("\0\xE1\xF5\x05\0\0\0\0{}", 10), {"InvalidHeaderLength", "of 100000000 bytes"}},
      {"start", safetensors_file(" {}", 0), {"InvalidHeaderStart", "'{'"}},
      {"byte order mark", safetensors_file("\xEF\xBB\xBF{}", 0), {"InvalidHeaderStart"}},
      {"Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", {"Git LFS", "git lfs pull"}},
      {"cut",
       safetensors_file(tensor_a(R"("dtype":"U8","shape":[9],"data_offsets":[0,9])"), 8),
       {"tensor \"a\"", "MetadataIncompleteBuffer", "expected 9", "found 8", "missing"}},
      {"longer",
       safetensors_file(tensor_a(R"("dtype":"U8","shape":[9],"data_offsets":[0,9])"), 10),
       {"MetadataIncompleteBuffer", "byte 9", "1 bytes more"}},
  };
  const TestFolder folder;
  for (const BadFile& c : cases) {
    SCOPED_TRACE(c.claim);
    const auto path = folder.write("bad.safetensors", c.bytes);
    const std::string message = message_of([&] { read_safetensors(path); });
    expect_parts(message, {path.string()});
    expect_parts(message, c.parts);
  }
}

struct BadHeader {
  const char* claim;
  std::string header;
  std::int64_t data_bytes;
  std::vector<std::string> parts;
};

void expect_refused(const std::vector<BadHeader>& cases) {
  for (const BadHeader& c : cases) {
    SCOPED_TRACE(c.claim);
    const std::string message = message_of([&] { parse(c.header, c.data_bytes); });
    expect_parts(message, {"w.safetensors: "});
    expect_parts(message, c.parts);
  }
}

TEST(Safetensors, HeadersThatAreNoStrictJsonAreRefused) {
  const std::string ok = R"("dtype":"U8","shape":[1],"data_offsets":[0,1])";
  const std::string bad = "InvalidHeaderDeserialization";
  expect_refused({
      {"unfinished", "{", 0, {bad}},
      {"trailing text", "{}x", 0, {bad}},
      {"second value", "{}{}", 0, {bad}},
      {"trailing NUL", std::string("{}\0", 3), 0, {bad, "NUL"}},
      {"comma", "{,}", 0, {bad}},
      {"comment", "{/*x*/}", 0, {bad}},
      {"UTF-8 in a name", "{\"\xC3\":{}}", 0, {bad, "UTF-8"}},
      {"overlong UTF-8", "{\"\xC0\x80\":{}}", 0, {bad, "UTF-8"}},
      {"lone surrogate", R"({"\ud800":{}})", 0, {bad}},
      {"tensor twice", "{\"a\":{" + ok + "},\"a\":{" + ok + "}}", 1, {"tensor \"a\"", bad, "twice"}},
      {"tensor twice by escape", "{\"a\":{" + ok + "},\"\\u0061\":{" + ok + "}}", 1, {"tensor \"a\"", "twice"}},
      {"metadata twice", R"({"__metadata__":{},"__metadata__":{}})", 0, {bad, "__metadata__", "twice"}},
      {"metadata key twice", R"({"__metadata__":{"k":"1","k":"2"}})", 0, {bad, "\"k\" twice"}},
      {"metadata number", R"({"__metadata__":{"k":1}})", 0, {bad, "strings only in __metadata__", "a number"}},
      {"metadata object", R"({"__metadata__":{"k":{}}})", 0, {bad, "strings only"}},
      {"metadata array", R"({"__metadata__":[]})", 0, {bad}},
      {"metadata null", R"({"__metadata__":null})", 0, {bad, "null"}},
      {"no tensor", R"({"a":1})", 0, {"tensor \"a\"", bad, "expected an object", "a number"}},
      {"field twice", tensor_a(ok + R"(,"shape":[1])"), 1, {"tensor \"a\"", bad, "\"shape\" stands there twice"}},
      {"unknown field", tensor_a(ok + R"(,"strides":[1])"), 1, {"tensor \"a\"", bad, "\"strides\""}},
      {"no dtype", tensor_a(R"("shape":[1],"data_offsets":[0,1])"), 1, {"tensor \"a\"", bad, "\"dtype\""}},
      {"no shape", tensor_a(R"("dtype":"U8","data_offsets":[0,1])"), 1, {"tensor \"a\"", bad, "\"shape\""}},
      {"no offsets", tensor_a(R"("dtype":"U8","shape":[1])"), 1, {"tensor \"a\"", bad, "\"data_offsets\""}},
      {"no second tensor's offsets",
       "{\"b\":{" + ok + R"(},"a":{"dtype":"U8","shape":[1]}})",
       1,
       {"tensor \"a\"", "\"data_offsets\""}},
  });
}

TEST(Safetensors, FieldsOfTheWrongKindAreRefused) {
  const std::string bad = "InvalidHeaderDeserialization";
  const auto with = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return tensor_a("\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets);
  };
  const std::string u8 = "\"U8\"";
  expect_refused({
      {"unknown dtype", with("\"F4\"", "[1]", "[0,1]"), 1, {"tensor \"a\"", bad, "BF16", "\"F4\""}},
      {"lower case dtype", with("\"bf16\"", "[1]", "[0,2]"), 2, {"tensor \"a\"", bad, "\"bf16\""}},
      {"dtype number", with("8", "[1]", "[0,1]"), 1, {"tensor \"a\"", bad, "a string as dtype"}},
      {"dtype array", with("[8]", "[1]", "[0,1]"), 1, {"tensor \"a\"", bad, "an array"}},
      {"shape string", with(u8, "\"1\"", "[0,1]"), 1, {"tensor \"a\"", bad, "a string"}},
      {"shape number", with(u8, "1", "[0,1]"), 1, {"tensor \"a\"", bad, "a number"}},
      {"nested shape", with(u8, "[[1]]", "[0,1]"), 1, {"tensor \"a\"", bad, "an array"}},
      {"negative size", with(u8, "[-1]", "[0,1]"), 1, {"tensor \"a\"", bad, "in shape", "a negative number"}},
      {"minus zero", with(u8, "[-0]", "[0,0]"), 0, {"tensor \"a\"", bad, "in shape"}},
      {"fraction", with(u8, "[1.0]", "[0,1]"), 1, {"tensor \"a\"", bad, "fraction"}},
      {"exponent", with(u8, "[1e0]", "[0,1]"), 1, {"tensor \"a\"", bad, "exponent"}},
      {"null size", with(u8, "[null]", "[0,1]"), 1, {"tensor \"a\"", bad, "null"}},
      {"boolean size", with(u8, "[true]", "[0,1]"), 1, {"tensor \"a\"", bad, "a boolean"}},
      {"object shape", with(u8, "{}", "[0,1]"), 1, {"tensor \"a\"", bad, "an object"}},
      {"one offset", with(u8, "[1]", "[0]"), 1, {"tensor \"a\"", bad, "2 numbers, found 1"}},
      {"three offsets", with(u8, "[1]", "[0,1,2]"), 1, {"tensor \"a\"", bad, "2 numbers, found more"}},
      {"negative offset", with(u8, "[1]", "[-1,0]"), 1, {"tensor \"a\"", bad, "in data_offsets"}},
      {"64-bit size", with(u8, "[9223372036854775808]", "[0,1]"), 1, {"tensor \"a\"", "ValidationOverflow"}},
      {"65-bit size", with(u8, "[36893488147419103232]", "[0,1]"), 1, {"tensor \"a\"", "ValidationOverflow"}},
      {"64-bit offset", with(u8, "[1]", "[0,18446744073709551615]"), 1, {"tensor \"a\"", "ValidationOverflow"}},
      {"elements overflow",
       with(u8, "[4294967296,4294967296]", "[0,1]"),
       1,
       {"tensor \"a\"", "ValidationOverflow", "4294967296"}},
      {"bytes overflow", with("\"F64\"", "[2305843009213693952]", "[0,1]"), 1, {"tensor \"a\"", "ValidationOverflow"}},
      {"overflow before a zero", with(u8, "[4294967296,4294967296,0]", "[0,0]"), 0, {"ValidationOverflow"}},
      {"too short",
       with("\"F32\"", "[2,3]", "[0,20]"),
       20,
       {"tensor \"a\"", "TensorInvalidInfo", "expected 24 bytes for F32 [2, 3]", "found 20"}},
      {"too long", with(u8, "[]", "[0,2]"), 2, {"tensor \"a\"", "TensorInvalidInfo", "expected 1 bytes"}},
  });
}

TEST(Safetensors, MoreDimensionsThanAnyTensorHasAreRefused) {
  std::string sizes = "1";
  for (int i = 1; i < 64; ++i) sizes += ",1";
  const auto header = [&] { return tensor_a("\"dtype\":\"U8\",\"shape\":[" + sizes + "],\"data_offsets\":[0,1]"); };
  EXPECT_EQ(parse(header(), 1)[0].shape.size(), 64u);
  sizes += ",1";
  expect_refused({{"65", header(), 1, {"tensor \"a\"", "TensorInvalidInfo", "64 dimensions"}}});
}

std::string two(const std::string& first, const std::string& second) {
  return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
         R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
}

TEST(Safetensors, OverlappingOffsetsAreRefused) {
  expect_refused({{"overlap", two("[0,4]", "[3,7]"), 7, {"tensor \"b\"", "InvalidOffset", "begin at 4", "overlaps"}},
                  {"the same", two("[0,4]", "[0,4]"), 4, {"InvalidOffset", "overlaps"}}});
}

TEST(Safetensors, HolesAreRefused) {
  expect_refused({{"between", two("[0,4]", "[5,9]"), 9, {"tensor \"b\"", "InvalidOffset", "begin at 4", "hole"}},
                  {"before", two("[1,5]", "[5,9]"), 9, {"tensor \"a\"", "InvalidOffset", "begin at 0", "hole"}}});
}

TEST(Safetensors, BackwardOffsetsAreRefused) {
  expect_refused({{"backward", two("[0,4]", "[4,0]"), 4, {"tensor \"b\"", "InvalidOffset", "begin <= end", "[4, 0]"}}});
}

TEST(Safetensors, OffsetsMayComeInAnyOrder) { EXPECT_EQ(parse(two("[4,8]", "[0,4]"), 8).size(), 2u); }

TEST(Safetensors, HostileNamesStayShortAndPrintableInMessages) {
  const std::string name = "\\n\\u001b[2J" + std::string(100'000, 'x');
  const std::string message = message_of([&] { parse("{\"" + name + "\":1}", 0); });
  expect_parts(message, {"tensor \"??[2Jxxx", "...\""});
  for (const char c : message) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  for (const char c : message_of([&] { parse("{\"\xC3\":{}}", 0); })) EXPECT_TRUE(c >= 0x20 && c < 0x7F);
  expect_parts(message_of([&] { parse(tensor_a("\"dtype\":" + std::string(100'000, 'x')), 0); }),
               {"InvalidHeaderDeserialization"});
}

TEST(Safetensors, MissingFilesFoldersAndFifosAreRefused) {
  const TestFolder folder;
  expect_parts(message_of([&] { read_safetensors(folder.path() / "none.safetensors"); }), {"none.safetensors"});
  expect_parts(message_of([&] { read_safetensors(folder.path()); }), {"regular file"});
  ASSERT_EQ(::mkfifo((folder.path() / "fifo").c_str(), 0600), 0);
  expect_parts(message_of([&] { read_safetensors(folder.path() / "fifo"); }), {"regular file"});
}

TEST(Safetensors, HeadersOfManyTensorsAreReadInLinearTime) {
  std::string header = "{";
  constexpr int kTensors = 165'860;
  for (int i = 0; i < kTensors; ++i)
    header += (i ? ",\"t" : "\"t") + std::to_string(i) + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" +
              std::to_string(i) + "," + std::to_string(i + 1) + "]}";
  EXPECT_EQ(parse(header + "}", kTensors).size(), static_cast<std::size_t>(kTensors));
}

}  // namespace
}  // namespace strata
