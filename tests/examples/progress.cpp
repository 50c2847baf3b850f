#include "common/progress.hpp"

#include <doctest/doctest.h>

#include <string>

using common::Progress;
using common::ProgressOptions;
using common::ProgressStyle;

namespace {

struct Recorder {
  double time = 100;
  std::string text;
  ProgressOptions options(ProgressStyle style) {
    ProgressOptions o;
    o.style = style;
    o.width = 60;
    o.write = [this](std::string_view t) { text += t; };
    o.now = [this] { return time; };
    return o;
  }
};

std::size_t occurrences(std::string_view text, std::string_view what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("progress: text shows amount, rate and time left") {
  CHECK(common::progress_text("train", 100, 400, "epochs", 0, 10, "loss 1.2") ==
        "train  100 of 400 epochs  25%  10.0/s  30 s left  loss 1.2");
  CHECK(common::progress_text("train", 2, 4, "epochs", 0, 10, "") ==
        "train  2 of 4 epochs  50%  5.0 s each  10 s left");
  CHECK(common::progress_text("read", 5, 0, "files", 0, 1, "") == "read  5 files  5.00/s");
  CHECK(common::progress_text("train", 0, 4, "epochs", 0, 3, "") == "train  0 of 4 epochs  0%");
  CHECK(common::progress_text("train", 300, 400, "epochs", 200, 10, "") ==
        "train  300 of 400 epochs  75%  10.0/s  10 s left");
}

TEST_CASE("progress: a terminal line is rewritten at most ten times a second") {
  Recorder recorder;
  {
    Progress progress("train", 1000, "steps", recorder.options(ProgressStyle::line));
    for (int i = 1; i <= 1000; ++i) {
      recorder.time = 100 + i * 0.001;
      progress.update(i);
    }
    CHECK(occurrences(recorder.text, "\r") >= 9);
    CHECK(occurrences(recorder.text, "\r") <= 11);
    CHECK(occurrences(recorder.text, "\n") == 0);
    progress.finish();
    progress.finish();
  }
  CHECK(occurrences(recorder.text, "\n") == 1);
  CHECK(recorder.text.ends_with("train  1000 steps in 1.0 s\x1b[K\n"));
}

TEST_CASE("progress: a line never wraps") {
  Recorder recorder;
  Progress progress("train", 10, "steps", recorder.options(ProgressStyle::line));
  progress.update(1, std::string(30, 'x') + "\u2212\u2212\u2212\u2212\u2212\u2212\u2212\u2212\u2212\u2212");
  const std::string line = recorder.text.substr(1, recorder.text.find('\x1b') - 1);
  CHECK(line.size() <= 59);
  CHECK((static_cast<unsigned char>(line.back()) < 0x80 || line.ends_with("\u2212")));
}

TEST_CASE("progress: log lines come every few seconds and messages at once") {
  Recorder recorder;
  Progress progress("train", 100, "steps", recorder.options(ProgressStyle::log));
  for (int i = 1; i <= 100; ++i) {
    recorder.time += 0.2;
    progress.update(i);
  }
  CHECK(occurrences(recorder.text, "\n") >= 3);
  CHECK(occurrences(recorder.text, "\n") <= 4);
  CHECK(recorder.text.find('\r') == std::string::npos);
  recorder.text.clear();
  progress.message("saved");
  CHECK(recorder.text == "saved\n");
}

TEST_CASE("progress: silent says nothing, an abandoned line is ended") {
  Recorder recorder;
  {
    Progress progress("train", 10, "steps", recorder.options(ProgressStyle::silent));
    recorder.time += 60;
    progress.update(5);
    progress.message("saved");
    progress.finish();
  }
  CHECK(recorder.text.empty());
  {
    Progress progress("train", 10, "steps", recorder.options(ProgressStyle::line));
    progress.update(5);
    progress.message("saved");
    CHECK(occurrences(recorder.text, "\r") == 3);
  }
  CHECK(recorder.text.ends_with("\n"));
}
