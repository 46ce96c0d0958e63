//! Resize, and Upsample, its older name.

use super::attributes::{Attribute, Attributes};
use super::mix::{Mix, mix};
use super::operator::{FILL, Fact, Facts, Implementation, Layout, Operator, QuantizationRole, Refusal, Site};
use super::{NodeForm, Parsed};
use crate::graph::Dim;
use crate::tensor::TensorData;

/// How an element between others is made of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interpolation {
    Nearest,
    Linear,
    /// By cubic polynomials of coefficient `a`.
    Cubic {
        a: f32,
    },
}

/// Resampling by nearest neighbour, linearly or by cubic polynomials. Inputs: data, roi, scales, sizes. The roi is read by
/// tf_crop_and_resize alone: where each dimension begins and ends, from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    pub interpolation: Interpolation,
    /// half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners, asymmetric or tf_crop_and_resize.
    pub coordinates: String,
    /// round_prefer_floor, round_prefer_ceil, floor or ceil; or [`OLD_ROUNDING`].
    pub nearest_mode: String,
    /// The dimensions that scales or sizes are of, each in turn; of all if not said.
    pub axes: Option<Vec<i64>>,
    pub aspect_ratio: AspectRatio,
    /// Where the image shrinks, more elements are mixed, so that all count.
    pub antialias: bool,
    /// Elements beyond the border count for nothing, where cubic polynomials or more elements reach them.
    pub exclude_outside: bool,
    /// What stands outside of the image in tf_crop_and_resize.
    pub extrapolation_value: f32,
}

/// What sizes mean for the ratio of dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AspectRatio {
    /// It becomes what they say.
    Stretch,
    /// It stays: the largest image that is nowhere larger than they say, or the smallest that is nowhere smaller.
    NotLarger,
    NotSmaller,
}

const ASPECT_RATIOS: [(&str, AspectRatio); 3] =
    [("stretch", AspectRatio::Stretch), ("not_larger", AspectRatio::NotLarger), ("not_smaller", AspectRatio::NotSmaller)];

/// How ONNX Runtime rounds in operator sets before 11: down where the image grows, up where it shrinks. Later sets have no name
/// for that: see `passes::name_old_rounding`.
pub const OLD_ROUNDING: &str = "old";

const COORDINATES: [&str; 6] = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", CROP];

pub(super) const CROP: &str = "tf_crop_and_resize";

impl Resize {
    fn interpolation(attributes: &mut Attributes) -> Result<Interpolation, Refusal> {
        let a = attributes.take_float("cubic_coeff_a", -0.75)?;
        match attributes.take_string("mode", "nearest")?.as_str() {
            "nearest" => Ok(Interpolation::Nearest),
            "linear" | "bilinear" => Ok(Interpolation::Linear),
            "cubic" => Ok(Interpolation::Cubic { a }),
            other => Err(format!("mode={other} is not supported")),
        }
    }

    /// # Errors
    /// If an attribute is wrong, unknown or not supported.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let interpolation = Self::interpolation(&mut attributes)?;
        if form.opset < 11 {
            attributes.finish()?;
            return Ok(Parsed { moved: Some((1, 2)), ..Parsed::plain(Self::of_old_sets(interpolation)) });
        }
        let coordinates = attributes.take_string("coordinate_transformation_mode", "half_pixel")?;
        let nearest_mode = attributes.take_string("nearest_mode", "round_prefer_floor")?;
        let extrapolation_value = attributes.take_float("extrapolation_value", 0.0)?;
        let antialias = attributes.take_int("antialias", 0)? != 0;
        let exclude_outside = attributes.take_int("exclude_outside", 0)? != 0;
        let policy = attributes.take_string("keep_aspect_ratio_policy", "stretch")?;
        let axes = attributes.take_ints("axes")?;
        attributes.finish()?;
        if antialias && interpolation == Interpolation::Nearest {
            return Err("antialias=1 is not known to mode=nearest".to_string());
        }
        let aspect_ratio = ASPECT_RATIOS.iter().find(|(name, _)| *name == policy).map(|(_, ratio)| *ratio);
        let aspect_ratio = aspect_ratio.ok_or_else(|| format!("keep_aspect_ratio_policy={policy} is not supported"))?;
        if !COORDINATES.contains(&coordinates.as_str()) {
            return Err(format!("coordinate_transformation_mode={coordinates} is not supported"));
        }
        Ok(Parsed::plain(Resize {
            interpolation,
            coordinates,
            nearest_mode,
            axes,
            aspect_ratio,
            antialias,
            exclude_outside,
            extrapolation_value,
        }))
    }

    /// Upsample of operator sets 7 (attribute `scales`) and 9 (input 1).
    ///
    /// # Errors
    /// If an attribute is wrong, unknown or not supported.
    pub fn parse_upsample(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let interpolation = Self::interpolation(&mut attributes)?;
        let scales = match attributes.0.remove("scales") {
            Some(Attribute::Floats(scales)) => Some(scales),
            None => None,
            Some(_) => return Err("attribute `scales` must be a list of numbers".to_string()),
        };
        attributes.finish()?;
        let parsed = Parsed::plain(Self::of_old_sets(interpolation));
        Ok(match scales {
            Some(scales) => Parsed { inputs: vec![(2, TensorData::vector(scales))], ..parsed },
            None => Parsed { moved: Some((1, 2)), ..parsed },
        })
    }

    /// What Upsample and the Resize of operator set 10 do.
    fn of_old_sets(interpolation: Interpolation) -> Resize {
        Resize {
            interpolation,
            coordinates: "asymmetric".to_string(),
            nearest_mode: OLD_ROUNDING.to_string(),
            axes: None,
            aspect_ratio: AspectRatio::Stretch,
            antialias: false,
            exclude_outside: false,
            extrapolation_value: 0.0,
        }
    }

    /// Output size and scale of each dimension.
    pub(super) fn target(&self, shape: &[usize], scales: Option<Vec<f32>>, sizes: Option<Vec<i64>>) -> Result<Vec<(usize, f64)>, Refusal> {
        let axes = self.listed(shape.len())?;
        let wanted = match (scales.filter(|scales| !scales.is_empty()), sizes.filter(|sizes| !sizes.is_empty())) {
            (Some(scales), None) if scales.len() == axes.len() => {
                axes.iter().zip(&scales).map(|(axis, scale)| grow(shape[*axis], *scale)).collect::<Result<Vec<_>, _>>()?
            }
            (None, Some(sizes)) if sizes.len() == axes.len() => {
                let from: Vec<usize> = axes.iter().map(|axis| shape[*axis].max(1)).collect();
                self.fit(&from, super::rearrange::sizes(&sizes)?)
            }
            _ => return Err("it needs constant scales or sizes for every dimension".to_string()),
        };
        let mut target: Vec<(usize, f64)> = shape.iter().map(|size| (*size, 1.0)).collect();
        axes.into_iter().zip(wanted).for_each(|(axis, wanted)| target[axis] = wanted);
        Ok(target)
    }

    /// Whether the roi matters.
    pub fn reads_region(&self) -> bool {
        self.coordinates == CROP
    }

    /// The dimensions that scales or sizes are of.
    ///
    /// # Errors
    /// If they do not fit `rank`.
    pub fn listed(&self, rank: usize) -> Result<Vec<usize>, Refusal> {
        let Some(axes) = &self.axes else { return Ok((0..rank).collect()) };
        let mut seen = vec![false; rank];
        let mut one = |axis: &i64| {
            let index = usize::try_from(if *axis < 0 { axis + rank as i64 } else { *axis }).ok().filter(|index| *index < rank)?;
            (!std::mem::replace(&mut seen[index], true)).then_some(index)
        };
        axes.iter().map(|axis| one(axis).ok_or_else(|| format!("axes={axes:?} do not fit {rank} dimensions"))).collect()
    }

    /// Sizes and scales that bring `from` to `wanted`, as far as the aspect ratio lets them.
    fn fit(&self, from: &[usize], wanted: Vec<usize>) -> Vec<(usize, f64)> {
        let scales = from.iter().zip(&wanted).map(|(from, to)| *to as f64 / *from as f64);
        let common = match self.aspect_ratio {
            AspectRatio::Stretch => return wanted.iter().copied().zip(scales).collect(),
            AspectRatio::NotLarger => scales.fold(f64::INFINITY, f64::min),
            AspectRatio::NotSmaller => scales.fold(0.0, f64::max),
        };
        from.iter().map(|from| ((*from as f64 * common + 0.5).floor() as usize, common)).collect()
    }

    /// Where each dimension begins and ends, from 0 to 1.
    fn region(&self, site: &Site<'_>, rank: usize) -> Result<Vec<(f32, f32)>, Refusal> {
        let mut region = vec![(0.0, 1.0); rank];
        if self.coordinates != CROP {
            return Ok(region);
        }
        let roi = site.required(1)?.constant.as_ref().and_then(TensorData::to_f32).ok_or("its roi must be constant")?;
        let axes = self.listed(rank)?;
        if roi.len() != 2 * axes.len() {
            return Err(format!("a roi of {} numbers does not fit {} dimensions", roi.len(), axes.len()));
        }
        axes.iter().enumerate().for_each(|(index, axis)| region[*axis] = (roi[index], roi[axes.len() + index]));
        Ok(region)
    }
}

fn grow(size: usize, scale: f32) -> Result<(usize, f64), Refusal> {
    let scaled = (size as f64 * f64::from(scale)).floor();
    let within = (1.0..1e9).contains(&scaled).then_some((scaled as usize, f64::from(scale)));
    within.ok_or_else(|| format!("scale {scale} is out of range"))
}

impl Operator for Resize {
    fn name(&self) -> &str {
        "Resize"
    }

    fn attributes(&self) -> Attributes {
        let attributes = match self.interpolation {
            Interpolation::Nearest => Attributes::default().string("mode", "nearest"),
            Interpolation::Linear => Attributes::default().string("mode", "linear"),
            Interpolation::Cubic { a } => Attributes::default().string("mode", "cubic").float("cubic_coeff_a", a),
        };
        let nearest_mode = if self.nearest_mode == OLD_ROUNDING { "floor" } else { &self.nearest_mode };
        let attributes = attributes.string("coordinate_transformation_mode", &self.coordinates).string("nearest_mode", nearest_mode);
        let attributes = match &self.axes {
            Some(axes) => attributes.ints("axes", axes),
            None => attributes,
        };
        let attributes = if self.exclude_outside { attributes.int("exclude_outside", 1) } else { attributes };
        let attributes = if self.antialias { attributes.int("antialias", 1) } else { attributes };
        let attributes =
            if self.coordinates == CROP { attributes.float("extrapolation_value", self.extrapolation_value) } else { attributes };
        let ratio = ASPECT_RATIOS.iter().find(|(_, ratio)| *ratio == self.aspect_ratio && *ratio != AspectRatio::Stretch);
        ratio.map_or(attributes.clone(), |(name, _)| attributes.string("keep_aspect_ratio_policy", name))
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        let open = |index: usize| inputs.get(index).is_some_and(|fact| fact.constant.is_none() && fact.shape != [Dim::Known(0)]);
        if open(2) || open(3) {
            // Computed from shapes that are not known yet.
            return Ok(vec![Fact::new(x.data_type, vec![Dim::Unknown; x.rank()])]);
        }
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
        let (input, output) = (&site.required(0)?.layout, site.output(0).ok_or("it has no output")?);
        if input.is_empty() {
            return Err("its input is empty".to_string());
        }
        let scales = site.get(2).and_then(|scales| scales.constant.as_ref()?.to_f32());
        let sizes = site.get(3).map(|_| site.integers(3)).transpose()?;
        let taps = self.all_taps(&input.shape, scales, sizes, self.region(site, input.shape.len())?)?;
        if self.interpolation == Interpolation::Nearest {
            let terms = mix(&Layout::row_major(&input.shape), &taps).into_iter();
            let map = terms.map(|terms| terms.and_then(|terms| Some(terms.first()?.0)).unwrap_or(FILL)).collect();
            return Ok(Implementation::Move { maps: vec![map], fill: self.extrapolation_value.into() });
        }
        let terms = mix(input, &taps).into_iter().zip(output.offsets()).map(|(terms, to)| (terms, to as u32)).collect();
        Ok(Implementation::Compute(Box::new(Mix { terms, fill: self.extrapolation_value })))
    }

    fn quantization_role(&self) -> QuantizationRole {
        match self.interpolation {
            Interpolation::Nearest => QuantizationRole::PassThrough,
            Interpolation::Linear | Interpolation::Cubic { .. } => QuantizationRole::Float,
        }
    }
}
