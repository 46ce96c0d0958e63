// Kernels for tensors [outer, channels, inner] of f32; n is the number of elements.

__device__ __forceinline__ unsigned int channel_of(unsigned int i, unsigned int channels, unsigned int inner) {
    return i / inner % channels;
}

__device__ __forceinline__ float bend(float v, float alpha, float low, float high) {
    v = v > 0.0f ? v : alpha * v;
    v = v < low ? low : v;
    return v > high ? high : v;
}

__device__ __forceinline__ float slope(float y, float alpha, float low, float high) {
    float rising = y > 0.0f || (y == 0.0f && alpha != 0.0f) ? 1.0f : alpha;
    return y > low && y < high ? rising : 0.0f;
}

// factors: factor, then shift of each channel.
extern "C" __global__ void affine(const float *x, const float *factors, const float *shortcut, float *y, unsigned int n,
                                  unsigned int channels, unsigned int inner, float alpha, float low, float high,
                                  unsigned int has_shortcut) {
    for (unsigned int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {
        unsigned int c = channel_of(i, channels, inner);
        float v = x[i] * factors[c] + factors[channels + c];
        if (has_shortcut) v += shortcut[i];
        y[i] = bend(v, alpha, low, high);
    }
}

// to: the gradient of x, then that of the shortcut.
extern "C" __global__ void affine_back(const float *gradient, const float *y, const float *factors, float *to, unsigned int n,
                                       unsigned int channels, unsigned int inner, float alpha, float low, float high) {
    for (unsigned int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {
        float g = gradient[i] * slope(y[i], alpha, low, high);
        to[i] = g * factors[channel_of(i, channels, inner)];
        to[(size_t)n + i] = g;
    }
}

// One block for each sample and channel; sums in an order that depends on blockDim.x, a power of two, alone.
// x is [batch, images, channels, inner], to is [2, batch, channels].
extern "C" __global__ void moments(const float *x, const float *means, float *to, unsigned int batch, unsigned int images,
                                   unsigned int channels, unsigned int inner) {
    extern __shared__ float sums[];
    unsigned int c = blockIdx.x % channels, sample = blockIdx.x / channels, t = threadIdx.x;
    float sum = 0.0f, square = 0.0f, mean = means[c];
    for (unsigned int image = 0; image < images; image++) {
        const float *plane = x + ((size_t)(sample * images + image) * channels + c) * inner;
        for (unsigned int i = t; i < inner; i += blockDim.x) {
            float d = plane[i] - mean;
            sum += d;
            square += d * d;
        }
    }
    sums[t] = sum;
    sums[blockDim.x + t] = square;
    __syncthreads();
    for (unsigned int half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) {
            sums[t] += sums[t + half];
            sums[blockDim.x + t] += sums[blockDim.x + t + half];
        }
        __syncthreads();
    }
    if (t == 0) {
        to[blockIdx.x] = sums[0];
        to[batch * channels + blockIdx.x] = sums[blockDim.x];
    }
}

// factors: [2, rows, channels], a and then b; with one row for all samples or one for each, which has `sample` elements.
extern "C" __global__ void pull(const float *x, const float *factors, const float *gradient, float *to, unsigned int n,
                                unsigned int channels, unsigned int inner, unsigned int rows, unsigned int sample,
                                unsigned int has_gradient) {
    for (unsigned int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {
        unsigned int row = rows > 1 ? i / sample : 0;
        unsigned int at = row * channels + channel_of(i, channels, inner);
        float pulled = factors[at] + factors[rows * channels + at] * x[i];
        to[i] = has_gradient ? gradient[i] + pulled : pulled;
    }
}

// A quantizer and its dequantizer. factors: scale, then zero point of each of `channels` (1 for one scale).
extern "C" __global__ void fake_quantize(const float *x, const float *factors, float *y, unsigned int n, unsigned int channels,
                                         unsigned int inner, float low, float high) {
    for (unsigned int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {
        unsigned int c = channel_of(i, channels, inner);
        float scale = factors[c], zero_point = factors[channels + c];
        float level = rintf(x[i] / scale) + zero_point;
        level = level < low ? low : level > high ? high : level;
        y[i] = (level - zero_point) * scale;
    }
}

// to: the gradient of x, then what each element adds to that of its scale.
extern "C" __global__ void fake_quantize_back(const float *x, const float *factors, const float *gradient, float *to, unsigned int n,
                                              unsigned int channels, unsigned int inner, float low, float high) {
    for (unsigned int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {
        unsigned int c = channel_of(i, channels, inner);
        float scale = factors[c], zero_point = factors[channels + c], g = gradient[i];
        float part = x[i] / scale, level = rintf(part) + zero_point;
        bool inside = level >= low && level <= high;
        float clamped = level < low ? low : level > high ? high : level;
        to[i] = inside ? g : 0.0f;
        to[(size_t)n + i] = g * (clamped - zero_point - (inside ? part : 0.0f));
    }
}

// 1 where an element keeps its value, else 0, as QuantizationDrop::keeps chooses on the CPU, where channels come last.
// x: [batch, images, channels, inner], with `sample` elements in each of the batch.
extern "C" __global__ void keeps(const float *x, float *to, unsigned int n, unsigned int channels, unsigned int inner,
                                 unsigned int sample, unsigned int seed) {
    for (unsigned int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {
        unsigned int image = i % sample / (channels * inner);
        unsigned int index = (image * inner + i % inner) * channels + channel_of(i, channels, inner);
        unsigned int mixed = (__float_as_uint(x[i]) ^ seed ^ index * 0x9E3779B9u) * 0x85EBCA6Bu;
        to[i] = (mixed ^ mixed >> 15) * 0xC2B2AE35u >> 31 ? 1.0f : 0.0f;
    }
}

// Levels of soft rounding are 0 and 1, its variable v; see Push in execution/motion.rs.
__device__ __forceinline__ float push(float v, float beta, float strength) {
    float part = 1.2f / (1.0f + expf(-v)) - 0.1f;
    float side = 2.0f * (part < 0.0f ? 0.0f : part > 1.0f ? 1.0f : part) - 1.0f;
    return copysignf(strength, side) * powf(fabsf(side), beta - 1.0f);
}

// Adam and what follows from its direction, as Step and Motion do it on the CPU, one number for each thread.
// state: [3, n], the numbers and their first and second moments. constants: [rows, period].
// motion: 0 free, 1 in units, 2 within bounds, 3 multiplied, 4 rounded.
extern "C" __global__ void adam(float *state, const float *gradient, const float *constants, unsigned int n, unsigned int period,
                                unsigned int motion, float keep_first, float keep_second, float correct_first, float correct_second,
                                float rate, float most, float beta, float strength) {
    unsigned int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = state[i], first = state[(size_t)n + i], second = state[2 * (size_t)n + i];
    float g = fabsf(gradient[i]) < 1e18f ? gradient[i] : 0.0f;
    first += (1.0f - keep_first) * (g - first);
    second += (1.0f - keep_second) * (g * g - second);
    float direction = first * correct_first / (sqrtf(second) * correct_second + 1e-12f);
    if (motion == 1) {
        x -= rate * constants[i % period] * direction;
    } else if (motion == 2) {
        float low = constants[i % period], high = constants[period + i % period];
        x -= rate * (high - low) * direction;
        x = x < low ? low : x;
        x = x > high ? high : x;
    } else if (motion == 3) {
        float factor = 1.0f - rate * direction;
        factor = factor < 0.5f ? 0.5f : factor > 2.0f ? 2.0f : factor;
        x = fminf(x * factor, most);
    } else if (motion == 4) {
        x += rate * (push(x, beta, strength) - direction);
    } else {
        x -= rate * direction;
    }
    state[i] = x;
    state[(size_t)n + i] = first;
    state[2 * (size_t)n + i] = second;
}
