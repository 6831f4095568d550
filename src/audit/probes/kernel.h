/* Between the files of the checks of the host's kernel. */
#pragma once

#include "audit/audit.h"

void krn_version_host(struct audit *a);
void krn_noise_host(struct audit *a);
