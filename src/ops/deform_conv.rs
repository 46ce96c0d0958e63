//! DeformConv: a convolution whose kernel reaches for elements beside its usual places.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::reordered::row_major;
use super::unary::output;
use super::{Attributes, Conv, NodeForm, Parsed};
use crate::graph::Dim;
use crate::kernels::Window;
use crate::kernels::deformed::Deformed;

/// Inputs: data `[N, C, H, W]`, weights `[M, C / group, kH, kW]`, offsets `[N, groups · kH · kW · 2, oH, oW]` along H and W, bias
/// `[M]` or none, mask `[N, groups · kH · kW, oH, oW]` or none.
/// Paper: Zhu et al. 2018, arXiv:1811.11168.
#[derive(Clone, Debug, PartialEq)]
pub struct DeformConv {
    pub conv: Conv,
    /// Groups of channels that have offsets of their own.
    pub offset_group: usize,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let offset_group = attributes.take_int("offset_group", 1)?;
    let conv = Conv::take(&mut attributes)?;
    attributes.finish()?;
    let offset_group = usize::try_from(offset_group).ok().filter(|groups| *groups > 0);
    Ok(Parsed::plain(DeformConv { conv, offset_group: offset_group.ok_or("offset_group is not positive")? }))
}

impl DeformConv {
    fn check(&self, window: &Window, shapes: [Option<&[usize]>; 3]) -> Result<(), Refusal> {
        let taps = self.offset_group * window.kernel[1] * window.kernel[2];
        let place = |channels: usize| [window.batch, channels, window.map[1], window.map[2]];
        let [offsets, bias, mask] = shapes;
        if window.kernel[0] != 1 || !window.channels.is_multiple_of(self.offset_group) {
            return Err(format!("{} channels do not fit offset_group={}", window.channels, self.offset_group));
        }
        if offsets != Some(&place(2 * taps)) || mask.is_some_and(|mask| *mask != place(taps)) {
            return Err(format!("offsets of shape {offsets:?} or a mask of shape {mask:?} do not fit a map of {:?}", place(2 * taps)));
        }
        match bias {
            Some(bias) if bias != [window.features] => Err(format!("a bias of shape {bias:?} does not fit {} channels", window.features)),
            _ => Ok(()),
        }
    }
}

impl Operator for DeformConv {
    fn name(&self) -> &str {
        "DeformConv"
    }

    fn attributes(&self) -> Attributes {
        self.conv.write().int("offset_group", self.offset_group as i64)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let mut like_conv: Vec<Option<Fact>> = (0..2).map(|index| inputs.get(index).cloned()).collect();
        like_conv.push(inputs.get(3).cloned());
        let facts = self.conv.infer(&Facts(&like_conv))?;
        let offsets = inputs.required(2)?;
        if facts[0].rank() != 4 || offsets.rank() != 4 {
            return Err(format!("an input of rank {} with offsets of rank {} is not supported", facts[0].rank(), offsets.rank()));
        }
        // Where sizes of the input are not known, those of the offsets may be.
        let shape = facts[0].shape.iter().zip(&offsets.shape).enumerate();
        let shape = shape.map(|(dim, (own, offset))| if dim >= 2 && *own == Dim::Unknown { offset.clone() } else { own.clone() });
        Ok(vec![Fact::new(facts[0].data_type, shape.collect())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let shape = |index: usize| site.get(index).map(|operand| operand.layout.shape.as_slice());
        let window = self.conv.window(&site.required(0)?.layout.shape, &site.required(1)?.layout.shape)?;
        self.check(&window, [shape(2), shape(3), shape(4)])?;
        let (found, wanted) = (&output(site)?.shape, [window.batch, window.features, window.map[1], window.map[2]]);
        if *found != wanted {
            return Err(format!("output shape {found:?} should be {wanted:?}"));
        }
        let kernel = Deformed { window, offset_group: self.offset_group };
        Ok(Implementation::Compute(row_major(site, 0, kernel)))
    }
}
