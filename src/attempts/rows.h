/* The rows of the table; each ends with an entry without id. Private to src/attempts. */
#pragma once

#include "attempts/attempts.h"

extern const struct attempt row_program[];   /* E1, E2 */
extern const struct attempt row_ids[];       /* E3 */
extern const struct attempt row_files[];     /* E4, E5 */
extern const struct attempt row_devices[];   /* E6 */
extern const struct attempt row_processes[]; /* E7 */
extern const struct attempt row_ipc[];       /* E8 */
extern const struct attempt row_network[];   /* E9 */
extern const struct attempt row_kernel[];    /* E10 */
extern const struct attempt row_memory[];    /* E11 */
extern const struct attempt row_limits[];    /* E12, E13 */
extern const struct attempt row_fds[];       /* E14 */
extern const struct attempt row_traces[];    /* E15, E16 */
