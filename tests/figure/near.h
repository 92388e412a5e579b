/* figure/near.h: doubles within a distance; NaN fails. */
#ifndef KH_TEST_FIGURE_NEAR_H
#define KH_TEST_FIGURE_NEAR_H

#define assert_near(got, want, tolerance)                                                          \
    assert_true(fabs((double)(got) - (double)(want)) <= (double)(tolerance))

#endif
