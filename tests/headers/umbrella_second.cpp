#include <eosin/eosin.hpp>

const char* version_of_second_unit();
const char* version_of_second_unit() { return eosin::version; }
