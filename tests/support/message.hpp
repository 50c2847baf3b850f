#pragma once

// What an expression throws, as text.

#include <eosin/core/error.hpp>

#include <string>

namespace eosin::testing {

/// Message of the eosin::Error that f throws; empty when it throws none.
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace eosin::testing
