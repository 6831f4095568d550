/* Between the files of this boundary. */
#pragma once

#include "audit/audit.h"

void iommu_host(struct audit *a);
void unsafe_host(struct audit *a);
void reset_guest(struct audit *a, struct guest *g);
void vhost_guest(struct audit *a, struct guest *g);
void legacy_guest(struct audit *a, struct guest *g);
void nodes_guest(struct audit *a, struct guest *g);
void devcg_guest(struct audit *a, struct guest *g);
