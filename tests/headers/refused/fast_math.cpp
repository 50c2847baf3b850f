// eosin does not work under -ffast-math
#include <eosin/eosin.hpp>
