#include "base/read_json.h"

#include <gtest/gtest.h>

#include <string>

namespace panvae {
namespace {

std::string nested(int depth) {
  return std::string(static_cast<size_t>(depth), '[') + std::string(static_cast<size_t>(depth), ']');
}

// The library reads any depth, and then overflows the stack where the value is copied or written.
TEST(read_json, what_nests_too_deeply_is_no_json) {
  EXPECT_EQ(parse_json(nested(kJsonDepth)).dump(), nested(kJsonDepth));
  EXPECT_TRUE(parse_json(nested(kJsonDepth + 1)).is_discarded());
  EXPECT_TRUE(parse_json(nested(1000000)).is_discarded());
  EXPECT_TRUE(parse_json("{\"a\":" + nested(kJsonDepth) + "}").is_discarded());
  EXPECT_TRUE(parse_json<nlohmann::json>(nested(1000000)).is_discarded());
  // Brackets side by side and within texts are no depth.
  std::string side = "[[]";
  for (int i = 0; i < 2 * kJsonDepth; ++i) side += ",[{}]";
  EXPECT_EQ(parse_json(side + "]").size(), 2u * kJsonDepth + 1);
  EXPECT_EQ(parse_json("[\"\\\"" + std::string(1000, '[') + "\\\\\",1]").size(), 2u);
  EXPECT_TRUE(parse_json("[1").is_discarded());
  EXPECT_TRUE(parse_json("").is_discarded());
}

TEST(read_json, members_of_another_kind_are_none) {
  const Json j = parse_json(R"({"text":"a","whole":-3,"natural":7,"number":1e300,"nothing":null,"list":[1]})");
  EXPECT_EQ(member<std::string>(j, "text"), "a");
  EXPECT_EQ(member<int64_t>(j, "whole"), -3);
  EXPECT_EQ(member<uint64_t>(j, "natural"), 7u);
  EXPECT_EQ(member<double>(j, "number"), 1e300);
  EXPECT_EQ(member<double>(j, "whole"), -3.0);
  EXPECT_FALSE(member<std::string>(j, "whole"));
  EXPECT_FALSE(member<std::string>(j, "nothing"));
  EXPECT_FALSE(member<std::string>(j, "list"));
  EXPECT_FALSE(member<std::string>(j, "absent"));
  EXPECT_FALSE(member<int64_t>(j, "number"));
  EXPECT_FALSE(member<uint64_t>(j, "whole"));
  EXPECT_FALSE(member<double>(j, "text"));
  EXPECT_FALSE(member<double>(Json(), "text"));
  EXPECT_FALSE(member<double>(parse_json("[1]"), "text"));
}

}  // namespace
}  // namespace panvae
