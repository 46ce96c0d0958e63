//! Col2Im.

use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Layout, Operator, Refusal, Site};
use super::reordered::row_major;
use super::unary::{numeric, output};
use super::{Attributes, NodeForm, Parsed};
use crate::graph::Dim;

/// Puts blocks that slid over an image back, summed where they overlap: `[N, C · block, blocks]`, the shape of the image and that of a
/// block to `[N, C, image…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Col2Im {
    /// Lists are empty where the attribute is left out.
    pub dilations: Vec<usize>,
    pub strides: Vec<usize>,
    /// Zeros before each dimension, then after each.
    pub pads: Vec<usize>,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let dilations = attributes.take_sizes("dilations", false)?.unwrap_or_default();
    let strides = attributes.take_sizes("strides", false)?.unwrap_or_default();
    let pads = attributes.take_sizes("pads", true)?.unwrap_or_default();
    attributes.finish()?;
    Ok(Parsed::plain(Col2Im { dilations, strides, pads }))
}

impl Col2Im {
    /// How blocks slide along each dimension.
    fn slides(&self, image: &[usize], block: &[usize]) -> Result<Vec<Slide>, Refusal> {
        let dims = image.len();
        let listed = |list: &[usize], index: usize, default: usize| if list.is_empty() { default } else { list[index] };
        let fits = |list: &[usize], wanted: usize| list.is_empty() || list.len() == wanted;
        if block.len() != dims || !fits(&self.dilations, dims) || !fits(&self.strides, dims) || !fits(&self.pads, 2 * dims) {
            return Err(format!("a block of shape {block:?} does not fit an image of shape {image:?}"));
        }
        let slide = |dim: usize| {
            let (dilation, stride) = (listed(&self.dilations, dim, 1), listed(&self.strides, dim, 1));
            let (before, after) = (listed(&self.pads, dim, 0), listed(&self.pads, dim + dims, 0));
            let reach = block[dim].checked_sub(1).map(|last| last.saturating_mul(dilation).saturating_add(1));
            let room = reach.and_then(|reach| (before + image[dim] + after).checked_sub(reach));
            let room = room.ok_or_else(|| format!("a block of {} does not fit {} elements", block[dim], image[dim]))?;
            Ok(Slide { image: image[dim], block: block[dim], count: room / stride + 1, stride, dilation, before })
        };
        (0..dims).map(slide).collect()
    }
}

#[derive(Clone, Copy)]
struct Slide {
    image: usize,
    block: usize,
    /// Of blocks.
    count: usize,
    stride: usize,
    dilation: usize,
    before: usize,
}

fn shapes(image: Vec<i64>, block: Vec<i64>) -> Result<(Vec<usize>, Vec<usize>), Refusal> {
    Ok((super::rearrange::sizes(&image)?, super::rearrange::sizes(&block)?))
}

impl Operator for Col2Im {
    fn name(&self) -> &str {
        "Col2Im"
    }

    fn attributes(&self) -> Attributes {
        let lists = [("dilations", &self.dilations), ("strides", &self.strides), ("pads", &self.pads)];
        let given = lists.into_iter().filter(|(_, list)| !list.is_empty());
        given.fold(Attributes::default(), |attributes, (name, list)| attributes.sizes(name, list))
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = numeric(inputs, 0)?;
        let integers = |index: usize| inputs.required(index)?.integers().ok_or_else(|| format!("input {index} must be constant integers"));
        let (image, block) = shapes(integers(1)?, integers(2)?)?;
        self.slides(&image, &block)?;
        let area: usize = block.iter().product();
        let [batch, columns, _] = x.shape.as_slice() else { return Err(format!("an input of rank {} holds no blocks", x.rank())) };
        let channels = columns.known().map_or(Dim::Unknown, |columns| Dim::Known(columns / area.max(1)));
        let shape = [batch.clone(), channels].into_iter().chain(image.into_iter().map(Dim::Known));
        Ok(vec![Fact::new(x.data_type, shape.collect())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (image, block) = shapes(site.integers(1)?, site.integers(2)?)?;
        let slides = self.slides(&image, &block)?;
        let (found, planes) = (&site.required(0)?.layout.shape, output(site)?.shape[..2].iter().product());
        let (area, count) =
            (block.iter().product::<usize>(), slides.iter().fold(1, |count: usize, slide| count.saturating_mul(slide.count)));
        if found.len() != 3 || found[2] != count || found[0] * found[1] != planes * area {
            return Err(format!("an input of shape {found:?} does not hold {count} blocks of shape {block:?}"));
        }
        let kernel = Blocks { places: places(&slides), planes, area: image.iter().product() };
        Ok(Implementation::Compute(row_major(site, 0, kernel)))
    }
}

/// Where each element of a block of each position stands in the image; `None` outside.
fn places(slides: &[Slide]) -> Vec<Option<usize>> {
    let sizes: Vec<usize> = slides.iter().map(|slide| slide.block).chain(slides.iter().map(|slide| slide.count)).collect();
    let numbers = Layout::row_major(&sizes);
    let strides = Layout::row_major(&slides.iter().map(|slide| slide.image).collect::<Vec<_>>()).strides;
    let place = |number: usize| {
        let at = |index: usize| number / numbers.strides[index] % sizes[index];
        let along = |(dim, slide): (usize, &Slide)| {
            let padded = at(dim) * slide.dilation + at(dim + slides.len()) * slide.stride;
            let position = padded.checked_sub(slide.before).filter(|position| *position < slide.image)?;
            Some(position * strides[dim])
        };
        slides.iter().enumerate().map(along).sum()
    };
    (0..numbers.len()).map(place).collect()
}

struct Blocks {
    places: Vec<Option<usize>>,
    planes: usize,
    /// Elements of an image.
    area: usize,
}

impl Blocks {
    /// Calls `visit` with the places of each element among the blocks and in the images.
    fn for_each(&self, mut visit: impl FnMut(usize, usize)) {
        for plane in 0..self.planes {
            for (number, place) in self.places.iter().enumerate() {
                if let Some(place) = place {
                    visit(plane * self.places.len() + number, plane * self.area + place);
                }
            }
        }
    }
}

impl Kernel for Blocks {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        output.fill(0.0);
        self.for_each(|from, to| output[to] += inputs[0][from]);
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let dx = gradient.open();
        self.for_each(|from, to| dx[from] += call.output_gradient[to]);
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}
