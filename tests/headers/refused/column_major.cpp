// views are row-major, this Eigen matrix is column-major
#include <eosin/core/eigen.hpp>

double corner(eosin::MatrixView<const double> view);

double use(const Eigen::MatrixXd& matrix) { return corner(matrix); }
