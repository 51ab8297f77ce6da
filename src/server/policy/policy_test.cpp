// Hosts, origins, keys and the watchdog.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "server/policy/api_keys.h"
#include "server/policy/content_security.h"
#include "server/policy/host_check.h"
#include "server/policy/watchdog.h"

namespace strata {
namespace {

class KeyFile {
 public:
  explicit KeyFile(const std::string& text, int mode = 0600) {
    std::ofstream(path) << text;
    ::chmod(path.c_str(), static_cast<mode_t>(mode));
  }
  ~KeyFile() { std::filesystem::remove(path); }
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("strata_keys_" + std::to_string(::getpid()));
};

TEST(HostName, IsLowerCaseAndWithoutPort) {
  EXPECT_EQ(host_name("LocalHost:8737"), "localhost");
  EXPECT_EQ(host_name("[::1]:80"), "[::1]");
  EXPECT_EQ(host_name("[::1]"), "[::1]");
  EXPECT_EQ(host_name("example.org."), "example.org");
  EXPECT_EQ(host_name("a:b"), "");
  EXPECT_EQ(host_name("[::1"), "");
  EXPECT_EQ(host_name("localhost:80@evil.example"), "");
}

TEST(HostCheck, F26_OnlyNamesOfThisMachineAndAllowedOnes) {
  const HostCheck check({"Strata.Example:8080"}, false);
  for (const char* good : {"localhost", "LOCALHOST:1", "127.0.0.1:8737", "[::1]:9", "strata.example:443"})
    EXPECT_TRUE(check.allows(good)) << good;
  for (const char* bad : {"evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:8737", "",
                          "127.0.0.2", "localhost@evil.example"})
    EXPECT_FALSE(check.allows(bad)) << bad;
  EXPECT_TRUE(HostCheck({}, true).allows("any.example"));
}

TEST(OriginCheck, F26_ForeignPagesAreRefusedAndOwnOnesServed) {
  const OriginCheck none({});
  EXPECT_TRUE(none.allows("http://localhost:8737", "localhost:8737"));
  EXPECT_FALSE(none.allows("http://localhost:3000", "localhost:8737"));
  EXPECT_FALSE(none.allows("http://evil.example", "localhost:8737"));
  EXPECT_FALSE(none.allows("null", "localhost:8737"));
  EXPECT_EQ(none.allow_header("http://localhost:8737"), "");
  const OriginCheck some({"https://chat.example/"});
  EXPECT_EQ(some.allow_header("https://chat.example"), "https://chat.example");
  EXPECT_EQ(some.allow_header("https://chat.example.evil"), "");
  EXPECT_EQ(OriginCheck({"*"}).allow_header("http://any.example"), "*");
}

TEST(ApiKeys, F25_OnlyTheWholeKeyIsRight) {
  const ApiKeys keys({{"one", "secret-one"}, {"two", "secret-two"}});
  EXPECT_TRUE(keys.required());
  EXPECT_EQ(keys.find("secret-one"), "one");
  EXPECT_EQ(keys.find("secret-two"), "two");
  for (const char* wrong : {"", "secret-", "secret-onesecret-one", "Secret-one", "secret-one "})
    EXPECT_FALSE(keys.find(wrong)) << wrong;
  EXPECT_FALSE(ApiKeys().required());
}

TEST(ApiKeys, AreShownAsBearerOrXApiKey) {
  const std::string bearer = "Bearer abc", basic = "Basic abc", plain = "xyz";
  EXPECT_EQ(shown_key(&bearer, nullptr), "abc");
  EXPECT_EQ(shown_key(&basic, &plain), "xyz");
  EXPECT_EQ(shown_key(nullptr, &plain), "xyz");
  EXPECT_EQ(shown_key(nullptr, nullptr), "");
}

TEST(ApiKeys, AFileHasNamesAndComments) {
  const KeyFile file("# keys\nalice secret-alice\n\nsecret-2 # second\n");
  const std::vector<ApiKey> keys = ApiKeys::read(file.path);
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0].name, "alice");
  EXPECT_EQ(keys[0].key, "secret-alice");
  EXPECT_EQ(keys[1].name, "key2");
  EXPECT_EQ(keys[1].key, "secret-2");
}

TEST(ApiKeys, AFileThatOthersMayReadIsRefused) {
  const KeyFile file("secret-alice\n", 0644);
  EXPECT_THROW(ApiKeys::read(file.path), Error);
}

TEST(ApiKeys, ACredentialOfSystemdMayHaveBitsOfTheGroup) {
  const KeyFile file("secret-alice\n", 0440);
  EXPECT_THROW(ApiKeys::read(file.path), Error);
  ::setenv("CREDENTIALS_DIRECTORY", file.path.parent_path().c_str(), 1);
  EXPECT_EQ(ApiKeys::read(file.path).size(), 1u);
  ::setenv("CREDENTIALS_DIRECTORY", "/nowhere", 1);
  EXPECT_THROW(ApiKeys::read(file.path), Error);
  ::unsetenv("CREDENTIALS_DIRECTORY");
}

TEST(ApiKeys, AFileWithoutAUsableKeyIsRefused) {
  for (const char* text : {"", "# nothing\n", "short\n", "a b c\n"}) {
    const KeyFile file(text);
    EXPECT_THROW(ApiKeys::read(file.path), Error) << text;
  }
}

TEST(ContentSecurity, HashesAreThoseOfFips180) {
  const auto hex = [](std::string_view text) {
    std::string digits;
    for (const int byte : sha256(text)) {
      digits += "0123456789abcdef"[byte >> 4];
      digits += "0123456789abcdef"[byte & 15];
    }
    return digits;
  };
  EXPECT_EQ(hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex(std::string(1000, 'a')), "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3");
}

TEST(ContentSecurity, OnlyTheInlineElementsMayRun) {
  const std::string policy = content_security_policy("<style>a</style><script type=\"module\">abc</script>");
  EXPECT_NE(policy.find("script-src 'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='"), std::string::npos)
      << policy;
  EXPECT_NE(policy.find("style-src 'sha256-"), std::string::npos);
  EXPECT_NE(content_security_policy("").find("script-src 'none'"), std::string::npos);
}

/// Whether it barks within `time` of looks twice a second.
bool barks(Watchdog& watchdog, bool has_work, Watchdog::Clock::time_point last_step, Watchdog::Clock::time_point from,
           Watchdog::Clock::duration time) {
  using namespace std::chrono_literals;
  bool stalled = false;
  for (auto now = from; now <= from + time; now += 500ms)
    stalled = stalled || watchdog.stalled(has_work, last_step, now);
  return stalled;
}

TEST(Watchdog, F20_AHangIsWorkWithoutASteppingEngine) {
  using namespace std::chrono_literals;
  Watchdog watchdog(30s);
  const Watchdog::Clock::time_point start{};
  EXPECT_FALSE(barks(watchdog, true, start, start, 30s));
  EXPECT_TRUE(watchdog.stalled(true, start, start + 30500ms));
  EXPECT_FALSE(barks(watchdog, false, start, start + 31s, 3600s));
}

TEST(Watchdog, F37_TimeInWhichTheProcessStoodStillIsNoHang) {
  using namespace std::chrono_literals;
  Watchdog watchdog(30s);
  const Watchdog::Clock::time_point start{};
  EXPECT_FALSE(barks(watchdog, true, start, start, 20s));
  EXPECT_FALSE(barks(watchdog, true, start, start + 3600s, 30s)) << "it begins anew";
  EXPECT_TRUE(watchdog.stalled(true, start, start + 3630500ms)) << "and ends at the limit";
}

}  // namespace
}  // namespace strata
