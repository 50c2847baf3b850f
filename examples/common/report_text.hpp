#pragma once

// Text for HTML, JSON and SVG: escaping, and numbers with sensible digits that no locale touches. A number that is not
// finite becomes a dash in text and is refused in coordinates.

#include <eosin/core/error.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>

namespace report {

using eosin::Index;

namespace detail {

/// Length of the well-formed UTF-8 sequence at `text[i]`, or 0.
inline std::size_t utf8_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned lead = byte(i);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xC2 && lead < 0xE0   ? 2
                             : lead >= 0xE0 && lead < 0xF0 ? 3
                             : lead >= 0xF0 && lead < 0xF5 ? 4
                                                           : 0;
  if (length == 0 || i + length > text.size()) return 0;
  for (std::size_t k = 1; k < length; ++k)
    if ((byte(i + k) & 0xC0U) != 0x80U) return 0;
  const unsigned second = byte(i + 1);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool out_of_range = (lead == 0xED && second >= 0xA0) || (lead == 0xF4 && second >= 0x90);
  return overlong || out_of_range ? 0 : length;
}

inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";

}  // namespace detail

/// `text` for element content and quoted attributes. Control characters and bytes that are not UTF-8 become U+FFFD, so
/// that a name from a damaged file cannot damage the page.
inline std::string escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = detail::utf8_length(text, i);
    const char c = text[i];
    if (length == 0) {
      out += detail::replacement_character;
      ++i;
      continue;
    }
    if (length > 1)
      out += text.substr(i, length);
    else if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
      out += detail::replacement_character;
    else
      out += c;
    i += length;
  }
  return out;
}

/// `text` as a JSON string with its quotes, safe inside a script element (no '<', '>' or '&' remains).
inline std::string json_string(std::string_view text) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = detail::utf8_length(text, i);
    const auto c = static_cast<unsigned char>(text[i]);
    if (length == 0) {
      out += detail::replacement_character;
      ++i;
      continue;
    }
    if (length > 1) {
      out += text.substr(i, length);
    } else if (c < 0x20 || c == 0x7F || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&') {
      out += "\\u00";
      out += digits[c >> 4U];
      out += digits[c & 15U];
    } else {
      out += text[i];
    }
    i += length;
  }
  return out += '"';
}

/// `value` with at most `decimals` decimals for SVG and JSON: plain ASCII, no trailing zeros, "-.5" as "-0.5".
/// A value that is not finite is a ValueError.
inline std::string plain(double value, int decimals) {
  eosin::require_value(std::isfinite(value), "report::plain", "value is not finite");
  std::array<char, 400> buffer;
  const auto [end, error] =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, decimals);
  eosin::require_value(error == std::errc{}, "report::plain", "too many decimals");
  std::string text(buffer.data(), end);
  if (text.find('.') != std::string::npos) {
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
  }
  return text == "-0" ? "0" : text;
}

/// `value` with exactly `decimals` decimals for reading, a true minus sign and separated thousands; a dash if it is
/// not finite.
inline std::string fixed(double value, int decimals) {
  if (!std::isfinite(value)) return "\u2013";
  std::array<char, 400> buffer;
  const auto [end, error] =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::abs(value), std::chars_format::fixed, decimals);
  eosin::require_value(error == std::errc{}, "report::fixed", "too many decimals");
  std::string text(buffer.data(), end);
  const bool zero = text.find_first_not_of("0.") == std::string::npos;
  const std::size_t dot = std::min(text.find('.'), text.size());
  for (std::size_t i = dot; i > 3; i -= 3) text.insert(i - 3, ",");
  return value < 0 && !zero ? "\u2212" + text : text;
}

/// `value` with `digits` significant digits for reading (0.0312, 4.71, 1,235); powers of ten where it is very large or
/// small.
inline std::string significant(double value, int digits = 3) {
  if (!std::isfinite(value)) return "\u2013";
  if (value == 0) return "0";
  const int exponent = static_cast<int>(std::floor(std::log10(std::abs(value))));
  if (exponent < -4 || exponent > 8) {
    std::array<char, 64> buffer;
    const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::abs(value),
                                            std::chars_format::scientific, digits - 1);
    eosin::require_value(error == std::errc{}, "report::significant", "too many digits");
    std::string text(buffer.data(), end);
    const std::size_t e = text.find('e');
    std::string mantissa = text.substr(0, e);
    if (mantissa.find('.') != std::string::npos) {
      while (mantissa.back() == '0') mantissa.pop_back();
      if (mantissa.back() == '.') mantissa.pop_back();
    }
    const bool below_one = text[e + 1] == '-';
    std::string power = text.substr(e + 2);
    if (power.size() > 1 && power.front() == '0') power.erase(0, 1);
    return (value < 0 ? "\u2212" : "") + mantissa + "e" + (below_one ? "\u2212" : "") + power;
  }
  return fixed(value, std::max(0, digits - 1 - exponent));
}

inline std::string count(Index value) {
  return fixed(static_cast<double>(value), 0);
}

/// "3.2 s", "38 s", "4.2 min", "42 min", "2.1 h".
inline std::string duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "\u2013";
  const auto two_digits = [](double v) { return fixed(v, v < 9.95 ? 1 : 0); };
  if (seconds < 59.5) return two_digits(seconds) + " s";
  if (seconds < 59.5 * 60) return two_digits(seconds / 60) + " min";
  return two_digits(seconds / 3600) + " h";
}

/// "1 spot", "278 spots".
inline std::string counted(Index n, std::string_view singular, std::string_view plural) {
  return count(n) + " " + std::string(n == 1 ? singular : plural);
}

}  // namespace report
