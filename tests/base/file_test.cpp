#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "helpers.h"

namespace panvae::test {
namespace {

TEST(file, appears_whole_on_commit) {
  Folder folder;
  const std::string path = folder.file("out.txt");
  AtomicFile f(path);
  f.write("hello ");
  EXPECT_FALSE(std::filesystem::exists(path));
  f.write(std::string("world\0!", 7));
  f.commit();
  EXPECT_EQ(read_file(path), std::string("hello world\0!", 13));
  EXPECT_EQ(folder.files(), 1u);
}

TEST(file, nothing_is_left_behind_without_commit) {
  Folder folder;
  write_file(folder.file("out.txt"), "before");
  {
    AtomicFile f(folder.file("out.txt"));
    f.write("half of it");
    EXPECT_EQ(folder.files(), 2u);
  }
  EXPECT_EQ(folder.files(), 1u);
  EXPECT_EQ(read_file(folder.file("out.txt")), "before");
  try {
    AtomicFile f(folder.file("other"));
    throw 1;
  } catch (int) {
  }
  EXPECT_EQ(folder.files(), 1u);
}

TEST(file, replaces_what_was_there) {
  Folder folder;
  write_file(folder.file("x"), "long text before");
  write_file(folder.file("x"), "short");
  EXPECT_EQ(read_file(folder.file("x")), "short");
}

TEST(file, follows_a_link) {
  Folder folder, elsewhere;
  write_file(elsewhere.file("there"), "before");
  std::filesystem::create_symlink(elsewhere.file("there"), folder.file("link"));
  write_file(folder.file("link"), "after");
  EXPECT_TRUE(std::filesystem::is_symlink(folder.file("link")));
  EXPECT_EQ(read_file(elsewhere.file("there")), "after");
  EXPECT_EQ(folder.files(), 1u);
  EXPECT_EQ(elsewhere.files(), 1u);
  // One that leads nowhere gives way to the file.
  std::filesystem::create_symlink(elsewhere.file("nowhere"), folder.file("dangling"));
  write_file(folder.file("dangling"), "new");
  EXPECT_EQ(read_file(folder.file("dangling")), "new");
}

TEST(file, a_library_may_write_under_the_temporary_name) {
  Folder folder;
  AtomicFile f(folder.file("x"));
  std::ofstream(f.temporary_path()) << "by another hand";
  f.commit();
  EXPECT_EQ(read_file(folder.file("x")), "by another hand");
}

// A rename would put a file in its place, which takes /dev/null away from the whole machine where root does it.
TEST(file, a_device_is_written_to_and_stays) {
  Folder folder;
  const std::string path = folder.file("null");
  std::filesystem::create_symlink("/dev/null", path);
  write_file(path, "away with it");
  EXPECT_TRUE(std::filesystem::is_symlink(path));
  EXPECT_EQ(folder.files(), 1u);
}

TEST(file, a_pipe_is_written_to_and_stays) {
  Folder folder;
  const std::string path = folder.file("pipe");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  char text[32] = {};
  { AtomicFile probe(path); }  // as programs look whether they will be able to write: the reader sees no end
  EXPECT_TRUE(::read(reader, text, sizeof text) <= 0);
  write_file(path, "through the pipe");
  EXPECT_EQ(::read(reader, text, sizeof text), 16);
  EXPECT_STREQ(text, "through the pipe");
  EXPECT_TRUE(std::filesystem::is_fifo(path));
  EXPECT_EQ(folder.files(), 1u);
  ::close(reader);
}

TEST(file, a_device_that_is_full_says_so) {
  Folder folder;
  std::filesystem::create_symlink("/dev/full", folder.file("full"));
  const Error e = error_of([&] { write_file(folder.file("full"), "no room"); });
  EXPECT_EQ(e.code(), ErrorCode::machine);
  EXPECT_NE(std::string(e.what()).find("No space left"), std::string::npos) << e.what();
}

TEST(file, a_missing_folder_is_known_at_once) {
  Folder folder;
  const Error e = error_of([&] { AtomicFile f(folder.file("no/such/folder/x")); });
  EXPECT_EQ(e.code(), ErrorCode::machine);
  EXPECT_CONTAINS(e.message(), "cannot write");
  EXPECT_CONTAINS(e.where(), "no/such/folder/x");
  EXPECT_FALSE(e.hint().empty());
}

TEST(file, an_unwritable_folder_is_an_error_and_leaves_nothing) {
  // A folder's permissions do not bind root; a file in the place of a folder binds all.
  Folder folder;
  write_file(folder.file("plain"), "");
  EXPECT_EQ(error_of([&] { write_file(folder.file("plain/x"), "y"); }).code(), ErrorCode::machine);
  if (::geteuid() != 0) {
    std::filesystem::create_directory(folder.path() / "closed");
    ::chmod(folder.file("closed").c_str(), 0555);
    EXPECT_EQ(error_of([&] { write_file(folder.file("closed/x"), "y"); }).code(), ErrorCode::machine);
    ::chmod(folder.file("closed").c_str(), 0755);
  }
  // The target is a folder: nothing can be renamed onto it, and the temporary file goes.
  std::filesystem::create_directory(folder.path() / "taken");
  const size_t before = folder.files();
  EXPECT_EQ(error_of([&] { write_file(folder.file("taken"), "y"); }).code(), ErrorCode::machine);
  EXPECT_EQ(folder.files(), before);
}

TEST(file, a_commit_that_cannot_rename_is_an_error) {
  Folder folder;
  AtomicFile f(folder.file("x"));
  f.write("y");
  std::filesystem::remove(f.temporary_path());
  EXPECT_EQ(error_of([&] { f.commit(); }).code(), ErrorCode::machine);
  EXPECT_FALSE(std::filesystem::exists(folder.file("x")));
}

TEST(file, reading_names_the_file) {
  Folder folder;
  const Error e = error_of([&] { read_file(folder.file("absent")); });
  EXPECT_EQ(e.code(), ErrorCode::input);
  EXPECT_CONTAINS(e.where(), "absent");
  EXPECT_EQ(error_of([&] { read_file(folder.path().string()); }).code(), ErrorCode::input) << "a folder is no file";
}

TEST(folder, appears_whole_on_commit) {
  Folder folder;
  AtomicFolder f(folder.file("out/"), "index");
  write_file(f.file("index"), "1");
  write_file(f.file("deep/er/x"), "2");
  EXPECT_FALSE(std::filesystem::exists(folder.file("out")));
  f.commit();
  EXPECT_EQ(read_file(folder.file("out/deep/er/x")), "2");
  EXPECT_EQ(folder.files(), 1u);
}

TEST(folder, nothing_is_left_behind_without_commit) {
  Folder folder;
  { write_file(AtomicFolder(folder.file("out"), "index").file("index"), "1"); }
  EXPECT_EQ(folder.files(), 0u);
}

TEST(folder, replaces_one_of_ours_and_nothing_else) {
  Folder folder;
  std::filesystem::create_directory(folder.file("out"));
  for (int round = 0; round < 2; ++round) {  // an empty one first
    AtomicFolder f(folder.file("out"), "index");
    write_file(f.file("index"), "1");
    write_file(f.file(round == 0 ? "before" : "after"), "");
    f.commit();
  }
  EXPECT_FALSE(std::filesystem::exists(folder.file("out/before")));
  EXPECT_TRUE(std::filesystem::exists(folder.file("out/after")));
  EXPECT_EQ(folder.files(), 1u);
  std::filesystem::remove(folder.file("out/index"));
  write_file(folder.file("file"), "");
  for (const char* name : {"out", "file"}) {
    const Error e = error_of([&] { AtomicFolder f(folder.file(name), "index"); });
    EXPECT_EQ(e.code(), ErrorCode::input);
    EXPECT_CONTAINS(std::string(e.what()), "something else");
  }
  EXPECT_TRUE(std::filesystem::exists(folder.file("out/after")));
  const Error e = error_of([&] { AtomicFolder f(folder.file("no/such/out"), "index"); });
  EXPECT_EQ(e.code(), ErrorCode::machine);
}

}  // namespace
}  // namespace panvae::test
