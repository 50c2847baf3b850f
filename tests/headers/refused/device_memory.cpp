// (could not convert|no viable conversion|no matching function|invalid initialization)
#include <eosin/core/view.hpp>

double corner(eosin::MatrixView<const double, eosin::Host> view);

double use(eosin::MatrixView<const double, eosin::Device> view) { return corner(view); }
