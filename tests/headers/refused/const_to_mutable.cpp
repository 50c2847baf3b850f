// (could not convert|no viable conversion|no matching function|invalid initialization)
#include <eosin/core/buffer.hpp>

void clear(eosin::MatrixView<double> view);

void use(const eosin::Matrix<double>& matrix) { clear(matrix); }
