//! Convolution against a plain reference in f64, on every instruction set.

use super::{AlignedBuffer, Convolution, Direction, Isa, Window};

struct Case {
    channels: usize,
    features: usize,
    group: usize,
    image: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    pad: [usize; 3],
    pad_after: [usize; 3],
}

const PLAIN: Case = Case {
    channels: 3,
    features: 5,
    group: 1,
    image: [1, 6, 7],
    kernel: [1, 3, 3],
    stride: [1; 3],
    dilation: [1; 3],
    pad: [0, 1, 1],
    pad_after: [0, 1, 1],
};

fn cases() -> Vec<Case> {
    vec![
        PLAIN,
        Case { channels: 1, features: 1, image: [1, 1, 1], ..PLAIN },
        Case { channels: 1, features: 1, image: [1, 1, 1], kernel: [1; 3], pad: [0; 3], pad_after: [0; 3], ..PLAIN },
        Case { channels: 17, features: 33, image: [1, 5, 9], ..PLAIN },
        Case { channels: 33, features: 17, image: [1, 9, 5], stride: [1, 2, 2], ..PLAIN },
        Case { channels: 16, features: 48, image: [1, 8, 8], stride: [1, 2, 1], ..PLAIN },
        Case { channels: 64, features: 64, image: [1, 8, 8], ..PLAIN },
        Case { channels: 5, features: 130, image: [1, 3, 3], kernel: [1; 3], pad: [0; 3], pad_after: [0; 3], ..PLAIN },
        Case { channels: 20, features: 40, image: [1, 9, 8], kernel: [1; 3], stride: [1, 2, 2], pad: [0; 3], pad_after: [0; 3], ..PLAIN },
        Case { features: 16, image: [1, 11, 10], kernel: [1, 7, 5], stride: [1, 2, 2], pad: [0, 3, 0], pad_after: [0, 1, 4], ..PLAIN },
        Case { channels: 4, features: 6, image: [1, 9, 9], stride: [1, 4, 5], kernel: [1, 2, 3], pad: [0; 3], pad_after: [0; 3], ..PLAIN },
        Case { channels: 4, features: 6, image: [1, 12, 9], dilation: [1, 3, 2], pad: [0, 0, 2], pad_after: [0, 3, 1], ..PLAIN },
        Case { channels: 4, features: 6, image: [1, 12, 9], dilation: [1, 3, 2], stride: [1, 2, 3], ..PLAIN },
        Case { channels: 6, features: 9, group: 3, stride: [1, 2, 1], ..PLAIN },
        Case { channels: 32, features: 64, group: 2, dilation: [1, 2, 1], ..PLAIN },
        Case { channels: 4, features: 8, group: 4, ..PLAIN },
        Case { channels: 2, features: 3, image: [4, 5, 6], kernel: [2, 3, 3], stride: [2, 1, 2], pad: [1, 1, 1], ..PLAIN },
        Case { channels: 3, features: 4, image: [1, 1, 20], kernel: [1, 1, 5], pad: [0, 0, 4], pad_after: [0; 3], ..PLAIN },
        Case { channels: 2, features: 2, image: [1, 2, 2], kernel: [1, 1, 1], pad: [0, 3, 2], pad_after: [0, 2, 3], ..PLAIN },
        Case { channels: 5, features: 5, group: 5, ..PLAIN },
        Case { channels: 33, features: 33, group: 33, stride: [1, 2, 2], image: [1, 7, 12], ..PLAIN },
        Case {
            channels: 16,
            features: 16,
            group: 16,
            image: [1, 14, 14],
            kernel: [1, 5, 5],
            pad: [0, 2, 2],
            pad_after: [0, 2, 2],
            ..PLAIN
        },
        Case { channels: 24, features: 24, group: 24, dilation: [1, 2, 3], image: [1, 9, 17], stride: [1, 1, 2], ..PLAIN },
        Case { channels: 8, features: 8, group: 8, image: [1, 2, 1], ..PLAIN },
        Case { channels: 8, features: 8, group: 8, image: [1, 9, 9], stride: [1, 4, 5], kernel: [1, 2, 3], pad: [0; 3], ..PLAIN },
        Case { channels: 3, features: 3, group: 3, image: [3, 4, 4], kernel: [3, 3, 3], pad: [1, 1, 1], pad_after: [1, 1, 1], ..PLAIN },
    ]
}

impl Case {
    fn window(&self, batch: usize) -> Window {
        let size =
            |i: usize| (self.image[i] + self.pad[i] + self.pad_after[i] - (self.kernel[i] - 1) * self.dilation[i] - 1) / self.stride[i] + 1;
        Window {
            batch,
            group: self.group,
            channels: self.channels,
            features: self.features,
            image: self.image,
            map: [size(0), size(1), size(2)],
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            pad: self.pad,
        }
    }
}

pub fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Calls `visit(image offset, weight offset, map offset)` for every product of the convolution.
fn products(window: &Window, visit: &mut dyn FnMut(usize, usize, usize)) {
    let (channels, features) = (window.channels / window.group, window.features / window.group);
    let flat = |size: [usize; 3], at: [usize; 3]| (at[0] * size[1] + at[1]) * size[2] + at[2];
    let all = |size: [usize; 3]| (0..size.iter().product()).map(move |i| [i / (size[1] * size[2]), i / size[2] % size[1], i % size[2]]);
    for batch in 0..window.batch {
        for place in all(window.map) {
            for tap in all(window.kernel) {
                let at: Vec<isize> =
                    (0..3).map(|i| (place[i] * window.stride[i] + tap[i] * window.dilation[i]) as isize - window.pad[i] as isize).collect();
                if (0..3).any(|i| at[i] < 0 || at[i] >= window.image[i] as isize) {
                    continue;
                }
                let image =
                    batch * window.image.iter().product::<usize>() + flat(window.image, [at[0] as usize, at[1] as usize, at[2] as usize]);
                let map = batch * window.map.iter().product::<usize>() + flat(window.map, place);
                for feature in 0..window.features {
                    for channel in 0..channels {
                        let from = image * window.channels + feature / features * channels + channel;
                        let weight = (flat(window.kernel, tap) * channels + channel) * window.features + feature;
                        visit(from, weight, map * window.features + feature);
                    }
                }
            }
        }
    }
}

fn assert_close(got: &[f32], wanted: &[f64], what: &str) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    for (index, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let error = (f64::from(*got) - wanted).abs();
        assert!(error <= 1e-4 * wanted.abs().max(1.0), "{what}: element {index} is {got}, not {wanted}");
    }
}

fn check(window: &Window, isa: Isa) {
    let image_len = window.batch * window.image.iter().product::<usize>() * window.channels;
    let map_len = window.batch * window.map.iter().product::<usize>() * window.features;
    let (image, map, weights) = (noise(image_len, 1), noise(map_len, 2), noise(window.weight_len(), 3));
    let (to_map_bias, to_image_bias) = (noise(window.features, 4), noise(window.channels, 5));
    let mut wanted_map: Vec<f64> = (0..map_len).map(|i| f64::from(to_map_bias[i % window.features])).collect();
    let mut wanted_image: Vec<f64> = (0..image_len).map(|i| f64::from(to_image_bias[i % window.channels])).collect();
    let mut wanted_weights: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
    products(window, &mut |i, w, m| {
        wanted_map[m] += f64::from(image[i]) * f64::from(weights[w]);
        wanted_image[i] += f64::from(map[m]) * f64::from(weights[w]);
        wanted_weights[w] += f64::from(map[m]) * f64::from(image[i]);
    });
    let convolution = Convolution::new(window, isa);
    let mut scratch = vec![f32::NAN; convolution.scratch()];
    let sides = [(Direction::ToMap, &image, to_map_bias, wanted_map), (Direction::ToImage, &map, to_image_bias, wanted_image)];
    for (direction, source, bias, wanted) in sides {
        let mut packed = AlignedBuffer::new(convolution.packed_len(direction));
        convolution.pack(direction, &weights, packed.values_mut());
        let mut output = vec![f32::NAN; wanted.len()];
        convolution.run(direction, source, packed.values(), &bias, false, &mut output, &mut scratch);
        assert_close(&output, &wanted, &format!("{direction:?} {window:?} {isa:?}"));
        let mut again = vec![f32::NAN; wanted.len()];
        convolution.run(direction, source, packed.values(), &bias, false, &mut again, &mut scratch);
        assert!(output.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()), "repeats bit for bit");
        convolution.run(direction, source, packed.values(), &[], false, &mut again, &mut scratch);
        for (sum, i) in again.iter_mut().zip(0..) {
            *sum += bias[i % bias.len()] - output[i];
        }
        assert_close(&again, &vec![0.0; wanted.len()], "without bias");
        let doubled: Vec<f64> = wanted.iter().enumerate().map(|(i, w)| 2.0 * w - f64::from(bias[i % bias.len()])).collect();
        convolution.run(direction, source, packed.values(), &[], true, &mut output, &mut scratch);
        assert_close(&output, &doubled, &format!("accumulated {direction:?} {window:?} {isa:?}"));
    }
    let mut gradient = weights.clone();
    convolution.add_weight_gradient(&image, &map, &mut gradient, &mut scratch);
    assert_close(&gradient, &wanted_weights, &format!("weights {window:?} {isa:?}"));
    let mut again = weights.clone();
    convolution.add_weight_gradient(&image, &map, &mut again, &mut scratch);
    assert!(gradient.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()), "repeats bit for bit");
}

#[test]
fn both_directions_and_the_weights_gradient_match_a_plain_sum() {
    for isa in Isa::available() {
        for case in cases() {
            check(&case.window(1), isa);
        }
        check(&PLAIN.window(3), isa);
    }
}

#[test]
fn random_windows_match_a_plain_sum() {
    let mut random = noise(40_000, 9).into_iter();
    let mut pick = |low: usize, high: usize| low + ((random.next().unwrap() + 1.0) * 0.499 * (high - low + 1) as f32) as usize;
    for _ in 0..150 {
        let group = [1, 1, 1, 2, 3, 4][pick(0, 5)];
        let depthwise = pick(0, 3) == 0;
        let (channels, features) = if depthwise { (1, 1) } else { (pick(1, 20), pick(1, 40)) };
        let group = if depthwise { pick(1, 40) } else { group };
        let mut case = Case { channels: group * channels, features: group * features, group, ..PLAIN };
        for axis in 1..3 {
            case.kernel[axis] = pick(1, 4);
            case.stride[axis] = pick(1, 3);
            case.dilation[axis] = pick(1, 3);
            case.pad[axis] = pick(0, 4);
            case.pad_after[axis] = pick(0, 4);
            let reach = (case.kernel[axis] - 1) * case.dilation[axis] + 1;
            case.image[axis] = reach.saturating_sub(case.pad[axis] + case.pad_after[axis]).max(1) + pick(0, 9);
        }
        for isa in Isa::available() {
            check(&case.window(1), isa);
        }
    }
}
