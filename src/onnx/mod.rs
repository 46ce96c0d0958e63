//! ONNX files in and out. Only this module knows protobuf; the rest of the crate sees a [`Graph`](crate::graph::Graph).
//!
//! [`load()`] reads a file into a [`Model`]: a graph in the form of operator sets 13 to 17 (or the file's own, where it is
//! newer), and whatever else the file says, kept for [`save()`]. Files are not trusted: sizes are checked before anything is
//! allocated, and what is malformed is refused by name.

mod attribute_proto;
mod capture;
mod count_messages;
mod encode;
mod external_data;
mod file_format;
mod header;
mod inference_mode;
mod inline_functions;
mod load;
pub mod messages;
mod model;
mod part;
mod raw_element;
mod read_graph;
mod read_node;
mod rename;
mod save;
mod subgraphs;
mod take_branches;
mod tensor_proto;
mod value_info;
mod write_graph;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use crate::limits::Limits;
pub use encode::{Encoded, Placement, encode, encoded_len, is_data_of, to_bytes};
pub use load::{from_bytes, hexadecimal, load};
pub use model::Model;
pub use save::{check_output, refuse_input, save};
