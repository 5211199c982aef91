//! What was typed: each setting once, or not at all, with the place where.
use std::collections::BTreeMap;

use super::{Typed, settings};

/// What one node has that others do not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawNode {
    pub vm_memory: Option<Typed<u32>>,
    pub vm_cpus: Option<Typed<u16>>,
    pub metadata: Option<Typed<BTreeMap<String, String>>>,
    pub user_data: Option<Typed<String>>,
}

macro_rules! declare {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr;)*) => {
        /// What one source says.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Raw {
            $($(#[$doc])* pub $name: Option<Typed<$type>>,)*
            pub nodes: BTreeMap<String, RawNode>,
        }

        impl Raw {
            /// This, and where it says nothing, that.
            pub fn over(self, below: Raw) -> Raw {
                let mut nodes = below.nodes;
                nodes.extend(self.nodes);
                Raw { $($name: self.$name.or(below.$name),)* nodes }
            }
        }
    };
}
settings!(declare);
