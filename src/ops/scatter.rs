//! ScatterElements and ScatterND.

use super::attributes::Attributes;
use super::indexed::{Update, element_places, scatter, slice_places};
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{operator, row_major_shape};
use super::unary::resolve_axis;
use super::{NodeForm, Parsed};

/// Input 0 with single elements updated by those of input 2: at the same place but along `axis`, where input 1 says.
#[derive(Clone, Copy, Debug)]
pub struct ScatterElements {
    pub axis: i64,
    pub update: Update,
}

/// Input 0 with slices updated by those of input 2; the tuples in the last dimension of input 1 tell where.
#[derive(Clone, Copy, Debug)]
pub struct ScatterND {
    pub update: Update,
}

impl ScatterElements {
    /// Scatter, its older name, too.
    ///
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let axis = attributes.take_int("axis", 0)?;
        let update = Update::named(&attributes.take_string("reduction", "none")?)?;
        attributes.finish()?;
        Ok(Parsed::plain(ScatterElements { axis, update }))
    }
}

impl ScatterND {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let update = Update::named(&attributes.take_string("reduction", "none")?)?;
        attributes.finish()?;
        Ok(Parsed::plain(ScatterND { update }))
    }
}

/// Operator sets below 16 do not know the attribute.
fn with_update(attributes: Attributes, update: Update) -> Attributes {
    if update == Update::Replace { attributes } else { attributes.string("reduction", update.name()) }
}

fn like_data(inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
    let (x, _, _) = (inputs.required(0)?, inputs.required(1)?, inputs.required(2)?);
    Ok(vec![Fact::new(x.data_type, x.shape.clone())])
}

operator!(
    ScatterElements,
    Float,
    |s| with_update(Attributes::default().int("axis", s.axis), s.update),
    |s, inputs| {
        resolve_axis(s.axis, inputs.required(0)?.rank())?;
        like_data(inputs)
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let places = element_places(&shape, &row_major_shape(site, 1)?, resolve_axis(s.axis, shape.len())?)?;
        scatter(site, places, s.update)
    }
);

operator!(ScatterND, Float, |s| with_update(Attributes::default(), s.update), |s, inputs| like_data(inputs), |s, site| {
    scatter(site, slice_places(&row_major_shape(site, 0)?, &row_major_shape(site, 1)?, 0)?, s.update)
});
