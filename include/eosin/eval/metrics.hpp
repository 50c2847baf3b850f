#pragma once

// All measures of how well expression is predicted; definitions in docs/evaluation.md.

#include <eosin/eval/correlation.hpp>
#include <eosin/eval/errors.hpp>
#include <eosin/eval/gene_sets.hpp>
#include <eosin/eval/summary.hpp>
