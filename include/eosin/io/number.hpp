#pragma once

// Numbers as text, independent of the locale.

#include <eosin/core/config.hpp>

#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace eosin::io {

/// Without blanks and tabs at both ends.
inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// The double nearest to a decimal number ("1", "-.5", "+2e-3", "nan", "inf"), blanks around it allowed. Nothing for
/// other text, and for a number too large for a double. A number too small becomes a zero of its sign.
inline std::optional<double> parse_number(std::string_view text) {
  text = trimmed(text);
  if (text.size() > 1 && text.front() == '+' && text[1] != '-' && text[1] != '+') text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || text.empty()) return std::nullopt;
  if (error == std::errc()) return value;
  if (error != std::errc::result_out_of_range) return std::nullopt;
  // Too large and too small end alike in from_chars; the position of the first significant digit tells them apart.
  const bool negative = text.front() == '-';
  if (negative) text.remove_prefix(1);
  const auto exponent_at = text.find_first_of("eE");
  const auto mantissa = text.substr(0, exponent_at);
  double magnitude = 0;
  if (exponent_at != std::string_view::npos) {
    auto digits = text.substr(exponent_at + 1);
    if (!digits.empty() && digits.front() == '+') digits.remove_prefix(1);
    int exponent = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
    magnitude = result.ec == std::errc() ? exponent : (digits.front() == '-' ? -1e18 : 1e18);
  }
  const auto point = mantissa.find('.');
  const auto first = mantissa.find_first_of("123456789");
  if (first == std::string_view::npos) return negative ? -0.0 : 0.0;
  const auto whole = point == std::string_view::npos ? mantissa.size() : point;
  magnitude += static_cast<double>(whole) - static_cast<double>(first);
  if (magnitude > 0) return std::nullopt;
  return negative ? -0.0 : 0.0;
}

/// A decimal integer, blanks around it allowed; nothing for other text and for what does not fit.
inline std::optional<Index> parse_integer(std::string_view text) {
  text = trimmed(text);
  if (text.size() > 1 && text.front() == '+' && text[1] != '-') text.remove_prefix(1);
  Index value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Appends a number: the shortest text that reads back as the same value, or `digits` significant digits.
template <class T>
void append_number(std::string& out, T value, int digits = 0) {
  char buffer[64];
  std::to_chars_result result{};
  if constexpr (std::is_integral_v<T>) {
    result = std::to_chars(buffer, buffer + sizeof buffer, value);
  } else if (digits > 0) {
    result =
        std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, digits > 40 ? 40 : digits);
  } else {
    result = std::to_chars(buffer, buffer + sizeof buffer, value);
  }
  out.append(buffer, result.ptr);
}

template <class T>
std::string number_text(T value, int digits = 0) {
  std::string text;
  append_number(text, value, digits);
  return text;
}

}  // namespace eosin::io
