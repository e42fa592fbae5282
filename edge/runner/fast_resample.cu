// The fast resampler on the GPU: the twin of edge/fast_resample.py, which explains it.
//
//     frame ─▶ across, one plane at a time ─▶ narrow (rows, outputs) ─▶ down ─▶ one channel of the input tensor
//
// One thread computes one value. A plane is every `row_step`-th row and `column_step`-th sample of the frame from
// `row` and `column` on: a colour of the Bayer pattern (steps 2, 2) or a channel of RGB (steps 1, 3).
// `first` and `weights` (outputs, taps) say what an output is made of; taps that are not needed weigh nothing.

template <typename Sample>
__device__ void across(const Sample *frame, int pitch, int row, int column, int row_step, int column_step,
                       int rows, const int *first, const float *weights, int taps, int outputs, float top,
                       float *narrow)
{
    const int output = blockIdx.x * blockDim.x + threadIdx.x;
    const int line = blockIdx.y * blockDim.y + threadIdx.y;
    if (output >= outputs || line >= rows)
        return;
    const Sample *samples = frame + (long long)(row + line * row_step) * pitch + column;
    const float *weight = weights + output * taps;
    float sum = 0.0f;
    for (int tap = 0; tap < taps; ++tap)
        sum += weight[tap] * (float)samples[(first[output] + tap) * column_step];
    narrow[line * outputs + output] = fminf(fmaxf(sum, 0.0f), top);
}

extern "C" __global__ void across_8(const unsigned char *frame, int pitch, int row, int column, int row_step,
                                    int column_step, int rows, const int *first, const float *weights, int taps,
                                    int outputs, float top, float *narrow)
{
    across(frame, pitch, row, column, row_step, column_step, rows, first, weights, taps, outputs, top, narrow);
}

extern "C" __global__ void across_16(const unsigned short *frame, int pitch, int row, int column, int row_step,
                                     int column_step, int rows, const int *first, const float *weights, int taps,
                                     int outputs, float top, float *narrow)
{
    across(frame, pitch, row, column, row_step, column_step, rows, first, weights, taps, outputs, top, narrow);
}

__device__ float one_column(const float *narrow, int width, int x, int y, const int *first, const float *weights,
                            int taps, float top)
{
    const float *weight = weights + y * taps;
    float sum = 0.0f;
    for (int tap = 0; tap < taps; ++tap)
        sum += weight[tap] * narrow[(long long)(first[y] + tap) * width + x];
    return fminf(fmaxf(sum, 0.0f), top);
}

// `other` is the second green plane of a Bayer frame, with its own taps, or null; both are averaged then.
extern "C" __global__ void down(const float *narrow, const int *first, const float *weights, int taps,
                                const float *other, const int *other_first, const float *other_weights,
                                int other_taps, int width, int height, float top, float mean, float deviation,
                                float *channel)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height)
        return;
    float value = one_column(narrow, width, x, y, first, weights, taps, top);
    if (other)
        value = 0.5f * (value + one_column(other, width, x, y, other_first, other_weights, other_taps, top));
    channel[(long long)y * width + x] = (value / top - mean) / deviation;
}
