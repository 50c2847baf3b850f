#include <eosin/core/error.hpp>

#include <doctest/doctest.h>

#include <eosin/core/buffer.hpp>

#include <type_traits>

using namespace eosin;

TEST_CASE("errors: one base, one type for each kind") {
  static_assert(std::is_base_of_v<std::runtime_error, Error>);
  static_assert(std::is_base_of_v<Error, ShapeError>);
  static_assert(std::is_base_of_v<Error, ValueError>);
  static_assert(std::is_base_of_v<Error, DesignError>);
  static_assert(std::is_base_of_v<Error, FileError>);
  static_assert(std::is_base_of_v<Error, ParseError>);
  static_assert(std::is_base_of_v<Error, Cancelled>);
}

TEST_CASE("errors: a parse error starts with its place") {
  CHECK(std::string(ParseError("spots.tsv", std::size_t{17}, "'n/a' is not a number").what()) ==
        "spots.tsv:17: 'n/a' is not a number");
  CHECK(std::string(ParseError("cells.h5ad", "X/indptr", "not monotone").what()) ==
        "cells.h5ad: X/indptr: not monotone");
}

TEST_CASE("errors: shape and value checks name function and argument") {
  CHECK_NOTHROW(require_size("f", "x", "columns", 3, 3));
  CHECK_THROWS_WITH_AS(require_size("softmax", "d_pooled", "columns", 28, 29, "cell types"),
                       "softmax: d_pooled has 28 columns, expected 29 (cell types)", ShapeError);
  CHECK_THROWS_WITH_AS(require_size("softmax", "d_pooled", "columns", 28, 29),
                       "softmax: d_pooled has 28 columns, expected 29", ShapeError);
  const Matrix<float> m(2, 3);
  CHECK_NOTHROW(require_shape("f", "x", m, 2, 3));
  CHECK_THROWS_WITH_AS(require_shape("f", "x", m.view(), 2, 4), "f: x is [2 x 3], expected [2 x 4]", ShapeError);
  CHECK_THROWS_AS(require_shape("f", "x", m, 1, 3), ShapeError);
  CHECK_NOTHROW(require_value(true, "f", "is fine"));
  CHECK_THROWS_WITH_AS(require_value(false, "f", "rate is negative"), "f: rate is negative", ValueError);
}
