//! Resize (and Upsample, its older name) and Swing: operators that sample an image at other places.

use super::attributes::{Attribute, Attributes};
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Layout, Operator, QuantizationRole, Refusal, Site};
use super::{NodeForm, Parsed};
use crate::graph::Dim;
use crate::tensor::{DataType, TensorData};

/// Resampling by nearest neighbour or linearly. Inputs: data, roi (unused), scales, sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    pub linear: bool,
    /// half_pixel, pytorch_half_pixel, align_corners or asymmetric.
    pub coordinates: String,
    /// round_prefer_floor, round_prefer_ceil, floor or ceil.
    pub nearest_mode: String,
}

impl Resize {
    fn linear(mode: &str) -> Result<bool, Refusal> {
        match mode {
            "nearest" => Ok(false),
            "linear" | "bilinear" => Ok(true),
            other => Err(format!("mode={other} is not supported")),
        }
    }

    /// # Errors
    /// If an attribute is wrong, unknown or not supported.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let linear = Self::linear(&attributes.take_string("mode", "nearest")?)?;
        if form.opset < 11 {
            attributes.finish()?;
            return Ok(Parsed { moved: Some((1, 2)), ..Parsed::plain(Self::of_old_sets(linear)) });
        }
        let coordinates = attributes.take_string("coordinate_transformation_mode", "half_pixel")?;
        let nearest_mode = attributes.take_string("nearest_mode", "round_prefer_floor")?;
        let _ = (attributes.take_float("cubic_coeff_a", -0.75)?, attributes.take_float("extrapolation_value", 0.0)?);
        let _ = attributes.take_int("exclude_outside", 0)?;
        let antialias = attributes.take_int("antialias", 0)?;
        let policy = attributes.take_string("keep_aspect_ratio_policy", "stretch")?;
        attributes.finish()?;
        if antialias != 0 || policy != "stretch" {
            return Err("antialias and keep_aspect_ratio_policy are not supported".to_string());
        }
        if !["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"].contains(&coordinates.as_str()) {
            return Err(format!("coordinate_transformation_mode={coordinates} is not supported"));
        }
        Ok(Parsed::plain(Resize { linear, coordinates, nearest_mode }))
    }

    /// Upsample of operator sets 7 (attribute `scales`) and 9 (input 1).
    ///
    /// # Errors
    /// If an attribute is wrong, unknown or not supported.
    pub fn parse_upsample(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let linear = Self::linear(&attributes.take_string("mode", "nearest")?)?;
        let scales = match attributes.0.remove("scales") {
            Some(Attribute::Floats(scales)) => Some(scales),
            None => None,
            Some(_) => return Err("attribute `scales` must be a list of numbers".to_string()),
        };
        attributes.finish()?;
        let parsed = Parsed::plain(Self::of_old_sets(linear));
        Ok(match scales {
            Some(scales) => Parsed { inputs: vec![(2, TensorData::vector(scales))], ..parsed },
            None => Parsed { moved: Some((1, 2)), ..parsed },
        })
    }

    /// What Upsample and the Resize of operator set 10 do.
    fn of_old_sets(linear: bool) -> Resize {
        Resize { linear, coordinates: "asymmetric".to_string(), nearest_mode: "floor".to_string() }
    }

    /// Output size and scale of each dimension.
    fn target(&self, shape: &[usize], scales: Option<Vec<f32>>, sizes: Option<Vec<i64>>) -> Result<Vec<(usize, f64)>, Refusal> {
        let grow = |(size, scale): (&usize, &f32)| {
            let scaled = (*size as f64 * f64::from(*scale)).floor();
            ((1.0..1e9).contains(&scaled))
                .then_some((scaled as usize, f64::from(*scale)))
                .ok_or_else(|| format!("scale {scale} is out of range"))
        };
        match (scales.filter(|scales| !scales.is_empty()), sizes.filter(|sizes| !sizes.is_empty())) {
            (Some(scales), None) if scales.len() == shape.len() => shape.iter().zip(&scales).map(grow).collect(),
            (None, Some(sizes)) if sizes.len() == shape.len() => {
                let sizes = super::rearrange::sizes(&sizes)?;
                Ok(shape.iter().zip(sizes).map(|(from, to)| (to, to as f64 / (*from).max(1) as f64)).collect())
            }
            _ => Err("it needs constant scales or sizes for every dimension".to_string()),
        }
    }

    /// Position in the input of output index `at`.
    fn position(&self, at: usize, from: usize, to: usize, scale: f64) -> f64 {
        let at = at as f64;
        match self.coordinates.as_str() {
            "align_corners" if to > 1 => at * (from as f64 - 1.0) / (to as f64 - 1.0),
            "align_corners" => 0.0,
            "asymmetric" => at / scale,
            "pytorch_half_pixel" if to <= 1 => 0.0,
            _ => (at + 0.5) / scale - 0.5,
        }
    }

    fn nearest(&self, position: f64) -> f64 {
        match self.nearest_mode.as_str() {
            "floor" => position.floor(),
            "ceil" => position.ceil(),
            "round_prefer_ceil" => (position + 0.5).floor(),
            _ => (position - 0.5).ceil(),
        }
    }

    /// For each output index, the input indices and weights that it mixes.
    fn taps(&self, from: usize, to: usize, scale: f64) -> Vec<Vec<(usize, f32)>> {
        let last = from as f64 - 1.0;
        let tap = |at: usize| {
            let position = self.position(at, from, to, scale);
            if !self.linear || from == to {
                return vec![(self.nearest(position).clamp(0.0, last) as usize, 1.0)];
            }
            let position = position.clamp(0.0, last);
            let low = position.floor();
            let part = (position - low) as f32;
            vec![(low as usize, 1.0 - part), ((low + 1.0).min(last) as usize, part)]
        };
        (0..to).map(tap).collect()
    }
}

/// Each output element is a weighted sum of input elements.
struct Mix {
    terms: Vec<(Vec<(u32, f32)>, u32)>,
}

impl Kernel for Mix {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for (terms, to) in &self.terms {
            output[*to as usize] = terms.iter().map(|(from, weight)| inputs[0][*from as usize] * weight).sum();
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let target = gradient.open();
        for (terms, to) in &self.terms {
            terms.iter().for_each(|(from, weight)| target[*from as usize] += weight * call.output_gradient[*to as usize]);
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}

impl Operator for Resize {
    fn name(&self) -> &str {
        "Resize"
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::default().string("mode", if self.linear { "linear" } else { "nearest" });
        attributes.string("coordinate_transformation_mode", &self.coordinates).string("nearest_mode", &self.nearest_mode)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        let scales = inputs.get(2).and_then(|scales| scales.constant.as_ref()?.to_f32());
        let sizes = inputs.get(3).and_then(Fact::integers);
        let known: Vec<usize> = x.shape.iter().map(|dim| dim.known().unwrap_or(1)).collect();
        let target = self.target(&known, scales, sizes)?;
        let shape = x.shape.iter().zip(target).map(|(dim, (size, scale))| match dim {
            Dim::Known(_) => Dim::Known(size),
            other if scale == 1.0 => other.clone(),
            _ => Dim::Unknown,
        });
        Ok(vec![Fact::new(x.data_type, shape.collect())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (input, output) = (&site.required(0)?.layout, site.outputs.first().ok_or("it has no output")?);
        let scales = site.get(2).and_then(|scales| scales.constant.as_ref()?.to_f32());
        let sizes = site.get(3).map(|_| site.integers(3)).transpose()?;
        let target = self.target(&input.shape, scales, sizes)?;
        let taps: Vec<_> = input.shape.iter().zip(target).map(|(from, (to, scale))| self.taps(*from, to, scale)).collect();
        if !self.linear {
            let plain = Layout::row_major(&input.shape);
            return Ok(Implementation::Move { maps: vec![mix(&plain, &taps).into_iter().map(|terms| terms[0].0).collect()], fill: 0.0 });
        }
        let terms = mix(input, &taps).into_iter().zip(output.offsets()).map(|(terms, to)| (terms, to as u32)).collect();
        Ok(Implementation::Compute(Box::new(Mix { terms })))
    }

    fn quantization_role(&self) -> QuantizationRole {
        if self.linear { QuantizationRole::Float } else { QuantizationRole::PassThrough }
    }
}

/// For every output element in row-major order, offsets and weights over all dimensions.
fn mix(layout: &Layout, taps: &[Vec<Vec<(usize, f32)>>]) -> Vec<Vec<(u32, f32)>> {
    let mut all = vec![vec![(0u32, 1.0f32)]];
    for (stride, taps) in layout.strides.iter().zip(taps) {
        let cross = |terms: &Vec<(u32, f32)>, more: &Vec<(usize, f32)>| -> Vec<(u32, f32)> {
            let pairs = terms.iter().flat_map(|(at, a)| more.iter().map(move |(i, b)| (at + (i * stride) as u32, a * b)));
            pairs.filter(|(_, weight)| *weight != 0.0).collect()
        };
        all = all.iter().flat_map(|terms| taps.iter().map(move |more| cross(terms, more))).collect();
    }
    all
}

/// Shifts all spatial dimensions of x by offset − 1 with reflection; the offset `[2]` (rows, columns) is a shared input.
/// An operator of zeroq's own, for synthesis only.
#[derive(Clone, Copy, Debug)]
pub struct Swing;

struct SwingKernel {
    height: usize,
    width: usize,
    channels: usize,
    offset: [isize; 2],
}

impl SwingKernel {
    /// Offset of the source of each position.
    fn source(&self, y: usize, x: usize) -> usize {
        let reflect = |at: isize, size: usize| {
            let last = size as isize - 1;
            (if at < 0 {
                -at
            } else if at > last {
                2 * last - at
            } else {
                at
            }) as usize
        };
        let (y, x) = (y as isize + self.offset[0] - 1, x as isize + self.offset[1] - 1);
        (reflect(y, self.height) * self.width + reflect(x, self.width)) * self.channels
    }

    fn each(&self, mut visit: impl FnMut(usize, usize)) {
        for y in 0..self.height {
            for x in 0..self.width {
                visit((y * self.width + x) * self.channels, self.source(y, x));
            }
        }
    }
}

impl Kernel for SwingKernel {
    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        if let Some(Some(offset)) = shared.get(1) {
            self.offset = [0, 1].map(|i| offset.get(i).map_or(1, |offset| offset.clamp(0.0, 2.0) as isize));
        }
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        let c = self.channels;
        self.each(|to, from| output[to..to + c].copy_from_slice(&inputs[0][from..from + c]));
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let (c, target) = (self.channels, gradient.open());
        self.each(|to, from| {
            for (t, g) in target[from..from + c].iter_mut().zip(&call.output_gradient[to..to + c]) {
                *t += g;
            }
        });
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}

impl Operator for Swing {
    fn name(&self) -> &str {
        "Swing"
    }

    fn domain(&self) -> &str {
        "zeroq"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        Ok(vec![Fact::new(DataType::F32, x.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let layout = &site.required(0)?.layout;
        let [1, channels, height, width] = layout.shape[..] else { return Err("it needs one image".to_string()) };
        Ok(Implementation::Compute(Box::new(SwingKernel { height, width, channels, offset: [1, 1] })))
    }
}
