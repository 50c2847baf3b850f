#pragma once

// Choices on a command line: words and what they mean.

#include <eosin/core/error.hpp>

#include <string>
#include <utility>
#include <vector>

namespace common {

/// The words of a choice and what they mean, in the order of the help.
template <class E>
using Words = std::vector<std::pair<std::string, E>>;

template <class E>
const std::string& word_of(const Words<E>& words, E value) {
  for (const auto& [word, meaning] : words)
    if (meaning == value) return word;
  throw eosin::ValueError("an option has no word");
}
template <class E>
E meaning_of(const Words<E>& words, const std::string& word) {
  for (const auto& [known, meaning] : words)
    if (known == word) return meaning;
  throw eosin::ValueError("unknown choice '" + word + "'");
}

}  // namespace common
