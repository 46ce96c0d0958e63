use std::sync::Arc;

use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId};
use crate::ops::{Interpolation, OLD_ROUNDING, Resize};

/// Before: `Resize(x, -, scales)` that rounds as operator sets before 11 do. After: one that rounds down where the image grows
/// and up where it shrinks, by the name that later sets have for it.
///
/// # Errors
/// If it grows along one dimension and shrinks along another, for which there is no name.
pub fn name_old_rounding(graph: &mut Graph) -> Result<()> {
    let old = |resize: &&Resize| resize.nearest_mode == OLD_ROUNDING;
    let nodes = graph.nodes().filter_map(|(id, node)| Some((id, node.is::<Resize>().filter(old)?.clone())));
    for (id, resize) in nodes.collect::<Vec<(NodeId, Resize)>>() {
        let node = graph.node(id);
        let Some(scales) = node.input(2).and_then(|scales| graph.constant(scales)?.to_f32()) else { continue };
        let (grows, shrinks) = (scales.iter().any(|scale| *scale > 1.0), scales.iter().any(|scale| *scale < 1.0));
        if grows && shrinks && resize.interpolation == Interpolation::Nearest {
            let reason = "it grows along one dimension and shrinks along another, and rounds as before operator set 11, which later sets cannot; export with set 11 or later";
            return Err(Error::node(&node.name, "Resize", reason));
        }
        let nearest_mode = if shrinks { "ceil" } else { "floor" }.to_string();
        graph.set_operator(id, Arc::new(Resize { nearest_mode, ..resize }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::ops::attributes::Attributes;
    use crate::ops::{NodeForm, parse};
    use crate::tensor::TensorData;

    #[test]
    fn rounding_is_named_after_where_the_image_goes() {
        for (scales, wanted) in [([1.0, 2.0], Some("floor")), ([1.0, 0.7], Some("ceil")), ([1.0, 1.0], Some("floor")), ([2.0, 0.5], None)] {
            let mut graph = Sketch::new(&[0, 1, 4, 8]).plain("y", "Relu", "x").outputs("y");
            let form = NodeForm { attributes: Attributes::default(), opset: 10, input_count: 2, output_count: 1 };
            let operator = parse("Resize", form).unwrap().unwrap().operator;
            let all = [[1.0, 1.0], scales].concat();
            let scales = graph.add_constant("scales", TensorData::vector::<f32>(all));
            let x = graph.inputs[0];
            let value = graph.add_value("z", None, None);
            let id = graph.add_node("resize", operator, vec![Some(x), None, Some(scales)], vec![Some(value)]);
            let named = name_old_rounding(&mut graph).ok().and_then(|()| Some(graph.node(id).is::<Resize>()?.nearest_mode.clone()));
            assert_eq!(named.as_deref(), wanted);
        }
    }
}
