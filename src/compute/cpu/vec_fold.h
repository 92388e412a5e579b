/* compute/cpu/vec_fold.h (template): folding lanes where the instruction set has nothing better.
 * Needs VL, vf and v_store before it. */
/* lane i with lane i + VL/2, and so on down to + 1 */
VEC float v_fold_add(vf v) {
    float lanes[VL];
    v_store(lanes, v);
    for (int width = VL / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lanes[i] += lanes[i + width];
    return lanes[0];
}
VEC float v_fold_max(vf v) {
    float lanes[VL];
    v_store(lanes, v);
    for (int width = VL / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lanes[i] = lanes[i + width] > lanes[i] ? lanes[i + width] : lanes[i];
    return lanes[0];
}
