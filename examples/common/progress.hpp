#pragma once

// Progress of long work: on a terminal one line that is rewritten at most ten times a second, elsewhere a log line
// every few seconds, or nothing. Shows how much is done, the rate and the time left.

#include "common/report_text.hpp"

#include <eosin/core/error.hpp>

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace common {

using eosin::Index;

enum class ProgressStyle {
  automatic,  ///< line where standard error is a terminal, log elsewhere
  line,
  log,
  silent,
};

struct ProgressOptions {
  ProgressStyle style = ProgressStyle::automatic;
  Index start = 0;                              ///< work done before, by an earlier run; it does not count for the rate
  double line_interval = 0.1;                   ///< seconds between two rewrites of the line
  double log_interval = 5;                      ///< seconds between two log lines
  int width = 0;                                ///< columns of the terminal; 0 = ask it
  std::function<void(std::string_view)> write;  ///< where the text goes; standard error if empty
  std::function<double()> now;                  ///< seconds on a steady clock; the system's if empty
};

/// "train  120 of 400 epochs  30%  12.3/s  23 s left  note". `total` 0 = unknown. The rate counts from `start`; it and
/// the time left appear once something is done.
inline std::string progress_text(std::string_view label, Index done, Index total, std::string_view unit, Index start,
                                 double seconds, std::string_view note) {
  std::string out(label);
  out += "  " + std::to_string(done) + (total > 0 ? " of " + std::to_string(total) : std::string());
  out += " " + std::string(unit);
  if (total > 0) {
    const double share = static_cast<double>(done) / static_cast<double>(total);
    out += "  " + report::plain(std::floor(100 * share), 0) + "%";
  }
  if (done > start && seconds > 0) {
    const double rate = static_cast<double>(done - start) / seconds;
    out += rate >= 1 ? "  " + report::significant(rate) + "/s" : "  " + report::duration(1 / rate) + " each";
    if (total > done) out += "  " + report::duration(static_cast<double>(total - done) / rate) + " left";
  }
  if (!note.empty()) out += "  " + std::string(note);
  return out;
}

/// All functions may be called from several threads.
class Progress {
 public:
  /// `total` 0 = unknown.
  Progress(std::string label, Index total, std::string unit, ProgressOptions options = {})
      : label_(std::move(label)), unit_(std::move(unit)), total_(total), options_(std::move(options)) {
    if (!options_.write)
      options_.write = [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); };
    if (!options_.now)
      options_.now = [] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
      };
    if (options_.style == ProgressStyle::automatic) {
      const char* terminal = std::getenv("TERM");
      const bool plain = terminal != nullptr && std::string_view(terminal) == "dumb";
      options_.style = !plain && ::isatty(STDERR_FILENO) == 1 ? ProgressStyle::line : ProgressStyle::log;
    }
    done_ = options_.start;
    begin_ = last_ = options_.now();
    if (options_.style == ProgressStyle::line) last_ = -std::numeric_limits<double>::infinity();  // show at once
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Ends the line; says nothing more, since work that is left by an exception is not finished.
  ~Progress() {
    if (on_line_) options_.write("\n");
  }

  /// `done` units are done in all. Writes only when the interval has passed.
  void update(Index done, std::string_view note = {}) {
    if (options_.style == ProgressStyle::silent) return;
    const std::lock_guard lock(mutex_);
    done_ = done;
    note_ = note;
    const double now = options_.now();
    if (now - last_ < (options_.style == ProgressStyle::line ? options_.line_interval : options_.log_interval)) return;
    last_ = now;
    show(now);
  }

  /// A line of its own, above the progress line.
  void message(std::string_view text) {
    if (options_.style == ProgressStyle::silent) return;
    const std::lock_guard lock(mutex_);
    const bool redraw = on_line_;
    if (on_line_) options_.write("\r\x1b[K");
    options_.write(std::string(text) + "\n");
    on_line_ = false;
    if (redraw) show(options_.now());
  }

  /// The last state and the time it took. Once.
  void finish() {
    if (options_.style == ProgressStyle::silent) return;
    const std::lock_guard lock(mutex_);
    if (finished_) return;
    finished_ = true;
    const double seconds = options_.now() - begin_;
    std::string text = label_ + "  " + std::to_string(done_) + " " + unit_ + " in " + report::duration(seconds);
    if (!note_.empty()) text += "  " + note_;
    options_.write((on_line_ ? "\r" : "") + fitted(text) + (on_line_ ? "\x1b[K\n" : "\n"));
    on_line_ = false;
  }

 private:
  void show(double now) {
    const std::string text = fitted(progress_text(label_, done_, total_, unit_, options_.start, now - begin_, note_));
    if (options_.style == ProgressStyle::line) {
      options_.write("\r" + text + "\x1b[K");
      on_line_ = true;
    } else {
      options_.write(text + "\n");
    }
  }

  /// A line that wraps cannot be rewritten: it is cut to the terminal, between characters.
  std::string fitted(std::string text) const {
    if (options_.style != ProgressStyle::line) return text;
    int columns = options_.width;
    if (columns <= 0) {
      winsize size{};
      columns = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    }
    auto limit = static_cast<std::size_t>(columns > 1 ? columns - 1 : 1);
    if (text.size() <= limit) return text;
    while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0U) == 0x80U) --limit;
    text.resize(limit);
    return text;
  }

  std::string label_, unit_, note_;
  Index total_ = 0, done_ = 0;
  ProgressOptions options_;
  double begin_ = 0, last_ = 0;
  bool on_line_ = false, finished_ = false;
  std::mutex mutex_;
};

}  // namespace common
