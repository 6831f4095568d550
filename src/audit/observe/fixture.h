/*
 * The file format of recorded hosts, version 1: a tree of files and what else was asked, as text.
 *
 *   bulkhead audit fixture 1
 *   # comment
 *   base NAME                 answers that this file lacks are in fixture NAME beside it (one level of many)
 *   gone QUESTION             the base's answer to this question does not hold: as if nobody had asked (-ENOENT)
 *   ? QUESTION                escaped as by text_escape()
 *   = TEXT                    an answer of one line without a newline behind it, escaped
 *   ! ERRNO                   or: it failed, with this number (positive)
 *   |TEXT                     or: lines of the answer, each with a newline behind it, escaped
 *   \TEXT                     a last line without a newline behind it
 *
 * A question without any answer line has the empty answer. The last answer to a question counts. What nobody has asked
 * while recording does not exist: -ENOENT.
 */
#pragma once

#define FIXTURE_MAGIC    "bulkhead audit fixture 1"
#define FIXTURE_BASE_MAX 8 /* fixtures on top of each other */
