//! GroupNormalization.

use super::normalization;
use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::{Attributes, NodeForm, Parsed};

/// Groups of channels brought to mean 0 and variance 1, then scaled and shifted: channel by channel, or, in the form of
/// operator sets 18 to 20, group by group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNormalization {
    pub groups: usize,
    pub epsilon: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let (groups, epsilon) = (attributes.take_int("num_groups", 0)?, attributes.take_float("epsilon", 1e-5)?);
    attributes.take_int("stash_type", 1)?;
    attributes.finish()?;
    match usize::try_from(groups) {
        Ok(groups) if groups > 0 => Ok(Parsed::plain(GroupNormalization { groups, epsilon })),
        _ => Err(format!("num_groups={groups} is out of range")),
    }
}

impl Operator for GroupNormalization {
    fn name(&self) -> &str {
        "GroupNormalization"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("num_groups", self.groups as i64).float("epsilon", self.epsilon)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        normalization::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let channels = site.required(0)?.layout.shape.get(1).copied().unwrap_or(0);
        if !channels.is_multiple_of(self.groups) {
            return Err(format!("num_groups={} does not divide {channels} channels", self.groups));
        }
        normalization::implement_channels(site, channels / self.groups, self.epsilon)
    }
}
