// One program of two units that include everything: a function that lacks `inline` fails to link.
#include <eosin/eosin.hpp>

const char* version_of_second_unit();

int main() { return version_of_second_unit() == eosin::version ? 0 : 1; }
