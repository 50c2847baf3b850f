#pragma once

// Typed exceptions. A message names the place (argument, file:line, dataset path), what was found there and what
// was expected, so that the reader can mend it without a debugger.

#include <eosin/core/config.hpp>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace eosin {

/// Base of all exceptions of the library.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An argument has the wrong shape: "softmax_mean_backward: d_pooled has 28 columns, composition has 29 (cell types)".
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// An argument has a value outside its domain (NaN, negative count, option out of range).
class ValueError : public Error {
 public:
  using Error::Error;
};

/// A design matrix does not determine its coefficients; the message names the columns.
class DesignError : public Error {
 public:
  using Error::Error;
};

/// A file cannot be opened, read, written or renamed.
class FileError : public Error {
 public:
  using Error::Error;
};

/// The content of a file is not what its format or its reader asks for. `what()` starts with "FILE:LINE: " or
/// "FILE: DATASET: ".
class ParseError : public Error {
 public:
  explicit ParseError(const std::string& message) : Error(message) {}
  ParseError(std::string_view file, std::string_view place, std::string_view message)
      : Error(std::string(file) + ": " + std::string(place) + ": " + std::string(message)) {}
  /// `line` counts from 1 in the decompressed text.
  ParseError(std::string_view file, std::size_t line, std::string_view message)
      : Error(std::string(file) + ":" + std::to_string(line) + ": " + std::string(message)) {}
};

/// A call of the CUDA runtime, of cuBLAS or cuDNN, or the launch of a kernel failed; the message names it.
class CudaError : public Error {
 public:
  using Error::Error;
};

/// Long work was stopped by its callback.
class Cancelled : public Error {
 public:
  using Error::Error;
};

namespace detail {

inline std::string shape_text(Index rows, Index cols) {
  // Appended, not "[" + ...: GCC 12 at -O3 warns of that (-Wrestrict, its bug 105651).
  std::string text = "[";
  text += std::to_string(rows);
  text += " x ";
  text += std::to_string(cols);
  text += ']';
  return text;
}

}  // namespace detail

/// Throws ShapeError unless `got == expected`: "FUNCTION: ARGUMENT has GOT WHAT, expected EXPECTED (WHY)".
inline void require_size(std::string_view function, std::string_view argument, std::string_view what, Index got,
                         Index expected, std::string_view why = {}) {
  if (got == expected) return;
  std::string message = std::string(function) + ": " + std::string(argument) + " has " + std::to_string(got) + " " +
                        std::string(what) + ", expected " + std::to_string(expected);
  if (!why.empty()) message += " (" + std::string(why) + ")";
  throw ShapeError(message);
}

/// Throws ShapeError unless the matrix-like `view` is [rows x cols].
template <class View>
void require_shape(std::string_view function, std::string_view argument, const View& view, Index rows, Index cols) {
  if (view.rows() == rows && view.cols() == cols) return;
  throw ShapeError(std::string(function) + ": " + std::string(argument) + " is " +
                   detail::shape_text(view.rows(), view.cols()) + ", expected " + detail::shape_text(rows, cols));
}

/// Throws ValueError("FUNCTION: MESSAGE") unless `condition`.
inline void require_value(bool condition, std::string_view function, std::string_view message) {
  if (!condition) throw ValueError(std::string(function) + ": " + std::string(message));
}

}  // namespace eosin
