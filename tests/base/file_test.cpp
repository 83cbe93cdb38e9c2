#include "base/file.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <vector>

#include "helpers.h"
#include "warnings.h"

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

TEST(file, what_is_replaced_hands_on_who_may_read_it) {
  Folder folder;
  const std::string path = folder.file("donors.tsv");
  const auto mode = [](const std::string& of) { return std::filesystem::status(of).permissions(); };
  for (const auto wanted : {std::filesystem::perms{0600}, std::filesystem::perms{0664}, std::filesystem::perms{0444}}) {
    write_file(path, "before");
    std::filesystem::permissions(path, wanted);
    AtomicFile f(path);
    EXPECT_EQ(mode(f.temporary_path()), wanted | std::filesystem::perms{0600});
    f.write("after");
    f.commit();
    EXPECT_EQ(mode(path), wanted);
    EXPECT_EQ(read_file(path), "after");
  }
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
  EXPECT_CONTAINS(std::string(e.what()), "No space left");
  EXPECT_CONTAINS(e.hint(), "free some space");
}

TEST(file, two_writers_of_one_name_do_not_meet) {
  Folder folder;
  AtomicFile one(folder.file("x")), two(folder.file("x"));
  one.write("of the one");
  two.write("of the other, longer");
  EXPECT_NE(one.temporary_path(), two.temporary_path());
  two.commit();
  EXPECT_EQ(read_file(folder.file("x")), "of the other, longer");
  one.commit();
  EXPECT_EQ(read_file(folder.file("x")), "of the one");
  EXPECT_EQ(folder.files(), 1u);
}

// The number of a process that is no more.
pid_t dead_process() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  return child;
}

std::vector<std::string> warnings_of(const std::function<void()>& f) {
  const Warnings warnings;
  f();
  return warnings.lines;
}

TEST(file, what_killed_processes_left_is_named_once) {
  Folder folder;
  const std::string path = folder.file("x"), left = path + ".part" + std::to_string(dead_process()), own = path + ".part" + std::to_string(::getpid());
  write_file(left, "half");
  write_file(own, "of a process that had our number before us");
  write_file(path + ".part" + std::to_string(::getppid()), "at work");
  for (const char* other : {".part", ".partial", ".part12x", "y.part1"}) write_file(path + other, "another's");
  const auto twice = [&] { write_file(path, "whole"), write_file(path, "again"); };
  const std::vector<std::string> lines = warnings_of(twice);
  ASSERT_EQ(lines.size(), 2u);
  for (const std::string& name : {left, own}) EXPECT_TRUE(contains(lines[0], quoted(name)) || contains(lines[1], quoted(name))) << lines[0] << "\n" << lines[1];
  EXPECT_EQ(read_file(path), "again");
  EXPECT_EQ(read_file(left), "half") << "it may be of another machine";
  EXPECT_EQ(read_file(own), "of a process that had our number before us");
}

TEST(file, a_name_may_be_as_long_as_the_file_system_allows) {
  Folder folder;
  const std::string name(255, 'x');
  write_file(folder.file(name), "y");
  EXPECT_EQ(read_file(folder.file(name)), "y");
  EXPECT_EQ(folder.files(), 1u);
  EXPECT_CONTAINS(error_of([&] { write_file(folder.file(name + "x"), "y"); }).message(), "too long");
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
  EXPECT_EQ(error_of([&] { AtomicFile f(folder.file("taken")); }).code(), ErrorCode::machine);
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
  AtomicFolder f(folder.file("out//"), "index");
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

TEST(folder, what_a_killed_process_left_is_not_taken_in) {
  Folder folder;
  const std::string left = folder.file("out.part" + std::to_string(::getpid()));  // in containers numbers come again
  std::filesystem::create_directory(left);
  write_file(left + "/stale", "");
  const std::vector<std::string> lines = warnings_of([&] {
    AtomicFolder f(folder.file("out"), "index");
    write_file(f.file("index"), "1");
    f.commit();
  });
  EXPECT_EQ(lines.size(), 1u);
  EXPECT_FALSE(std::filesystem::exists(folder.file("out/stale")));
  EXPECT_TRUE(std::filesystem::exists(left + "/stale"));
}

TEST(folder, follows_a_link) {
  Folder folder, elsewhere;
  std::filesystem::create_directory(elsewhere.file("there"));
  std::filesystem::create_directory_symlink(elsewhere.file("there"), folder.file("link"));
  for (const char* name : {"link", "link/"}) {
    AtomicFolder f(folder.file(name), "index");
    write_file(f.file("index"), name);
    f.commit();
    EXPECT_TRUE(std::filesystem::is_symlink(folder.file("link")));
    EXPECT_EQ(read_file(elsewhere.file("there/index")), name);
    EXPECT_EQ(folder.files(), 1u);
    EXPECT_EQ(elsewhere.files(), 1u);
  }
  std::filesystem::create_symlink(elsewhere.file("nowhere"), folder.file("dangling"));
  EXPECT_CONTAINS(error_of([&] { AtomicFolder f(folder.file("dangling"), "index"); }).message(), "leads nowhere");
}

// Renaming them fails, or pulls the floor from under who stands there: known before the work.
TEST(folder, the_working_folder_and_a_mounted_one_are_refused_at_once) {
  Folder folder;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  for (const std::string& name : {std::string("."), std::string("./"), folder.path().string()})
    EXPECT_CONTAINS(error_of([&] { AtomicFolder f(name, "index"); }).message(), "working folder");
  std::filesystem::current_path(before);
  const std::string mounted = folder.file("mounted");
  std::filesystem::create_directory(mounted);
  const pid_t child = ::fork();  // it alone sees the mount
  if (child == 0) {
    if (::unshare(::geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", mounted.c_str(), "tmpfs", 0, nullptr) != 0)
      ::_exit(77);
    ::_exit(contains(error_of([&] { AtomicFolder f(mounted, "index"); }).message(), "mounted") ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "nothing may be mounted here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(folder, two_writers_of_one_name_both_give_a_whole_one) {
  Folder folder;
  AtomicFolder one(folder.file("out"), "index"), two(folder.file("out"), "index");
  for (AtomicFolder* f : {&one, &two}) write_file(f->file("index"), f == &one ? "1" : "2"), write_file(f->file(f == &one ? "one" : "two"), "");
  one.commit();
  EXPECT_EQ(read_file(folder.file("out/index")), "1");
  two.commit();
  EXPECT_EQ(read_file(folder.file("out/index")), "2");
  EXPECT_FALSE(std::filesystem::exists(folder.file("out/one")));
  EXPECT_EQ(folder.files(), 1u);
}

TEST(folder, what_came_into_its_place_meanwhile_is_not_replaced) {
  Folder folder;
  AtomicFolder f(folder.file("out"), "index");
  write_file(f.file("index"), "1");
  std::filesystem::create_directory(folder.file("out"));
  write_file(folder.file("out/mine"), "");
  EXPECT_CONTAINS(error_of([&] { f.commit(); }).message(), "something else");
  EXPECT_TRUE(std::filesystem::exists(folder.file("out/mine")));
}

TEST(folder, a_lock_is_of_one) {
  Folder folder;
  {
    const FolderLock lock(folder.path().string());
    EXPECT_EQ(error_of([&] { FolderLock second(folder.path().string()); }).code(), ErrorCode::usage);
  }
  const FolderLock after(folder.path().string());
  EXPECT_EQ(folder.files(), 0u);
}

}  // namespace
}  // namespace panvae::test
