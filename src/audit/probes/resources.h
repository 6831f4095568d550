/* Between the files of the resource checks. */
#pragma once

#include "audit/audit.h"
#include "audit/probes/cgroup.h"

void res_io_host(struct audit *a);
void res_cgown_host(struct audit *a);
void res_cgshare_pairs(struct audit *a);
void res_console_guest(struct audit *a, struct guest *g);
void res_rt_guest(struct audit *a, struct guest *g);
void res_over_host(struct audit *a);
void res_oom_guest(struct audit *a, struct guest *g);
void res_nofile_guest(struct audit *a, struct guest *g);
void res_kthr_guest(struct audit *a, struct guest *g);
