//! RoiAlign.

use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use super::reordered::row_major;
use super::unary::{numeric, output};
use super::{Attributes, NodeForm, Parsed};
use crate::graph::Dim;
use crate::kernels::sampling::{Corner, Interpolation, Outside, Taps, cross};

/// Regions of input 0, `[N, C, H, W]`, brought to one size: input 1 are their corners, `[R, 4]`, input 2 the image of each. The
/// result is `[R, C, output height, output width]`. Regions take no gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct RoiAlign {
    /// Height and width.
    pub size: [usize; 2],
    /// The largest of the values in a cell, not their mean.
    pub largest: bool,
    /// Values in a cell along each dimension; 0: as many as it covers elements, but no more than 256.
    pub sampling_ratio: usize,
    pub spatial_scale: f32,
    /// half_pixel or output_half_pixel; `None` in operator sets 13 to 15, which knew the latter alone. Graphs of older sets are raised.
    pub coordinates: Option<String>,
}

/// Values in a cell along one dimension, at most.
const MOST_SAMPLES: usize = 256;

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let NodeForm { mut attributes, opset, .. } = form;
    let mut size = |name: &str, default: i64, most: usize| -> Result<usize, Refusal> {
        let size = attributes.take_int(name, default)?;
        if (default..=most as i64).contains(&size) { Ok(size as usize) } else { Err(format!("{name}={size} is out of range")) }
    };
    let sizes = [size("output_height", 1, 1 << 16)?, size("output_width", 1, 1 << 16)?];
    let sampling_ratio = size("sampling_ratio", 0, MOST_SAMPLES)?;
    let spatial_scale = attributes.take_float("spatial_scale", 1.0)?;
    let mode = attributes.take_string("mode", "avg")?;
    let default = match opset {
        ..13 => Some("output_half_pixel".to_string()),
        13..16 => None,
        _ => Some("half_pixel".to_string()),
    };
    let coordinates = match attributes.take_string("coordinate_transformation_mode", "")?.as_str() {
        "" => default,
        known @ ("half_pixel" | "output_half_pixel") => Some(known.to_string()),
        other => return Err(format!("coordinate_transformation_mode={other} is not known")),
    };
    attributes.finish()?;
    if !["avg", "max"].contains(&mode.as_str()) {
        return Err(format!("mode={mode} is not known"));
    }
    Ok(Parsed::plain(RoiAlign { size: sizes, largest: mode == "max", sampling_ratio, spatial_scale, coordinates }))
}

impl Operator for RoiAlign {
    fn name(&self) -> &str {
        "RoiAlign"
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::default().int("output_height", self.size[0] as i64).int("output_width", self.size[1] as i64);
        let attributes = attributes.int("sampling_ratio", self.sampling_ratio as i64).float("spatial_scale", self.spatial_scale);
        let attributes = attributes.string("mode", if self.largest { "max" } else { "avg" });
        match &self.coordinates {
            Some(coordinates) => attributes.string("coordinate_transformation_mode", coordinates),
            None => attributes,
        }
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (x, regions, _) = (numeric(inputs, 0)?, numeric(inputs, 1)?, inputs.required(2)?);
        if x.rank() != 4 || regions.rank() != 2 || regions.shape[1].known().is_some_and(|corners| corners != 4) {
            return Err(format!("an input of rank {} or regions of rank {} are not supported", x.rank(), regions.rank()));
        }
        let [height, width] = self.size.map(Dim::Known);
        Ok(vec![Fact::new(x.data_type, vec![regions.shape[0].clone(), x.shape[1].clone(), height, width])])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let x = &site.required(0)?.layout.shape;
        output(site)?;
        let (&[images, channels, height, width], &[regions, 4]) = (x.as_slice(), site.required(1)?.layout.shape.as_slice()) else {
            return Err("its regions have no four corners".to_string());
        };
        if x.contains(&0) || site.required(2)?.layout.len() != regions {
            return Err(format!("{regions} regions do not fit an input of shape {x:?} and as many images"));
        }
        let kernel = Regions { operator: self.clone(), shape: [images, channels, height, width], regions };
        Ok(Implementation::Compute(row_major(site, 0, kernel)))
    }
}

struct Regions {
    operator: RoiAlign,
    /// Of input 0.
    shape: [usize; 4],
    regions: usize,
}

/// A region along one dimension.
struct Span {
    start: f32,
    /// Of one cell.
    length: f32,
    /// Values in a cell.
    samples: usize,
}

impl Regions {
    fn span(&self, start: f32, end: f32, cells: usize) -> Span {
        let half_pixel = self.operator.coordinates.as_deref() == Some("half_pixel");
        let place = |x: f32| x * self.operator.spatial_scale - if half_pixel { 0.5 } else { 0.0 };
        let (start, end) = (place(start), place(end));
        let length = if half_pixel { end - start } else { (end - start).max(1.0) } / cells as f32;
        // A region that is larger than any image samples no finer than this.
        let covered = length.ceil().clamp(0.0, MOST_SAMPLES as f32) as usize;
        Span { start, length, samples: if self.operator.sampling_ratio > 0 { self.operator.sampling_ratio } else { covered } }
    }

    /// The mixes of all values of cell (row, column) of a region.
    fn for_each_sample(&self, rows: &Span, columns: &Span, cell: [usize; 2], mut visit: impl FnMut(&[Corner])) {
        let mut corners = Vec::new();
        let position = |span: &Span, cell: usize, at: usize| {
            span.start + cell as f32 * span.length + (at as f32 + 0.5) * span.length / span.samples as f32
        };
        let [.., height, width] = self.shape;
        for row in 0..rows.samples {
            for column in 0..columns.samples {
                let (y, x) = (position(rows, cell[0], row), position(columns, cell[1], column));
                let inside = (-1.0..=height as f32).contains(&y) && (-1.0..=width as f32).contains(&x);
                let taps = |position: f32, size: usize| {
                    Taps::new(Interpolation::Linear, position.clamp(0.0, size as f32 - 1.0), size, Outside::Border)
                };
                cross(&[taps(y, height), taps(x, width)], &[height, width], &mut corners);
                visit(if inside { &corners } else { &[] });
            }
        }
    }

    /// Calls `visit` for each output element with its place, the place of its plane in input 0, and what it is made of: the
    /// number of values in its cell, and their mixes one after another.
    fn for_each(&self, inputs: &[&[f32]], mut visit: impl FnMut(usize, usize, usize, &[Vec<Corner>])) {
        let [images, channels, height, width] = self.shape;
        let [cell_rows, cell_columns] = self.operator.size;
        for region in 0..self.regions {
            let corners = &inputs[1][region * 4..][..4];
            let (rows, columns) = (self.span(corners[1], corners[3], cell_rows), self.span(corners[0], corners[2], cell_columns));
            let image = (inputs[2][region].max(0.0) as usize).min(images - 1);
            for row in 0..cell_rows {
                for column in 0..cell_columns {
                    let mut samples = Vec::with_capacity(rows.samples * columns.samples);
                    self.for_each_sample(&rows, &columns, [row, column], |corners| samples.push(corners.to_vec()));
                    for channel in 0..channels {
                        let at = ((region * channels + channel) * cell_rows + row) * cell_columns + column;
                        visit(at, (image * channels + channel) * height * width, samples.len(), &samples);
                    }
                }
            }
        }
    }
}

/// The largest weighted element of all mixes; `None` where it is the 0 beyond the image.
fn largest<'a>(samples: &'a [Vec<Corner>], plane: &[f32]) -> Option<(f32, &'a Corner)> {
    let weighted = samples.iter().flatten().map(|corner| (plane[corner.place] * corner.weight, corner));
    let beyond = samples.iter().any(Vec::is_empty);
    weighted.reduce(|best, next| if next.0 > best.0 { next } else { best }).filter(|(value, _)| !beyond || *value > 0.0)
}

impl Kernel for Regions {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        self.for_each(inputs, |at, plane, count, samples| {
            let plane = &inputs[0][plane..];
            output[at] = if self.operator.largest {
                largest(samples, plane).map_or(0.0, |(value, _)| value)
            } else {
                samples.iter().flatten().map(|corner| plane[corner.place] * corner.weight).sum::<f32>() / count.max(1) as f32
            };
        });
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output_gradient, input_gradients, .. } = call;
        input_gradients.iter_mut().flatten().for_each(|gradient| {
            gradient.open();
        });
        let Some(Some(gradient)) = input_gradients.first_mut() else { return };
        self.for_each(inputs, |at, plane, count, samples| {
            let (dx, g) = (&mut gradient.values[plane..], output_gradient[at]);
            if self.operator.largest {
                if let Some((_, corner)) = largest(samples, &inputs[0][plane..]) {
                    dx[corner.place] += g * corner.weight;
                }
            } else {
                samples.iter().flatten().for_each(|corner| dx[corner.place] += g * corner.weight / count as f32);
            }
        });
    }
}
