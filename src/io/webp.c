/* WebP through libwebp: the first frame on its canvas, alpha dropped. */
#include "base/alloc.h"
#include "io/image.h"

#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

/* What the first frame leaves free of the canvas stays transparent black; so does Pillow's. */
static kh_status decode_frame(const kh_encoded *in, const WebPIterator *frame, kh_image *out,
                              kh_error *err) {
    const size_t x = (size_t)frame->x_offset, y = (size_t)frame->y_offset;
    const size_t w = (size_t)frame->width, h = (size_t)frame->height;
    int real_width, real_height;
    if (!frame->complete ||
        !WebPGetInfo(frame->fragment.bytes, frame->fragment.size, &real_width, &real_height))
        return kh_fail(err, KH_E_FORMAT, "WebP is truncated or damaged: %zu bytes", in->count);
    if ((size_t)real_width != w || (size_t)real_height != h || x > out->width || y > out->height ||
        w > out->width - x || h > out->height - y)
        return kh_fail(err, KH_E_FORMAT,
                       "WebP is damaged: a %dx%d frame does not fit its %zux%zu canvas", real_width,
                       real_height, out->width, out->height);
    const size_t stride = 3 * out->width;
    if (w != out->width || h != out->height) memset(out->rgb, 0, stride * out->height);
    /* every byte from the frame's corner to the canvas's end may be used by the strides */
    uint8_t *corner = out->rgb + y * stride + 3 * x;
    const size_t room = stride * (h - 1) + 3 * w;
    if (stride > INT32_MAX ||
        !WebPDecodeRGBInto(frame->fragment.bytes, frame->fragment.size, corner, room, (int)stride))
        return kh_fail(err, KH_E_FORMAT,
                       "WebP cannot be decoded: %zu bytes are damaged, or memory is short",
                       in->count);
    return KH_OK;
}

static unsigned find_orientation(const WebPDemuxer *demuxer) {
    WebPChunkIterator chunk;
    unsigned found = 0;
    if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) {
        found = kh_exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    return found;
}

kh_status kh_webp_decode(const kh_encoded *in, kh_image *out, unsigned *orientation,
                         kh_error *err) {
    const WebPData data = {in->bytes, in->count};
    WebPDemuxer *demuxer = WebPDemux(&data); /* NULL unless the file is whole */
    if (!demuxer)
        return kh_fail(err, KH_E_FORMAT, "WebP is truncated or damaged: %zu bytes", in->count);
    WebPIterator frame = {0};
    kh_status status;
    KH_GO(kh_image_create(WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH),
                          WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT), in->limits, out, err));
    if (!WebPDemuxGetFrame(demuxer, 1, &frame)) {
        status = kh_fail(err, KH_E_FORMAT, "WebP holds no frame");
        goto done;
    }
    KH_GO(decode_frame(in, &frame, out, err));
    if (in->options->exif_rotate) {
        const unsigned found = find_orientation(demuxer);
        if (found) *orientation = found;
    }
done:
    WebPDemuxReleaseIterator(&frame);
    WebPDemuxDelete(demuxer);
    if (status) kh_image_clear(out);
    return status;
}
