#include "audit/probes/network.h"
