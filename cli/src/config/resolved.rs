//! What is meant: every setting with its value, and where that comes from.
use std::collections::BTreeMap;

use super::raw::{Raw, RawNode};
use super::{Origin, Setting, Typed, settings};

macro_rules! declare {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr;)*) => {
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {
            $($(#[$doc])* pub $name: Typed<$type>,)*
            /// By name, what single nodes have that others do not.
            pub nodes: BTreeMap<String, RawNode>,
        }

        impl Settings {
            /// Fills in the defaults.
            pub fn resolve(raw: Raw) -> Settings {
                Settings {
                    $($name: raw.$name.unwrap_or_else(|| Typed::new($default, Origin::Default)),)*
                    nodes: raw.nodes,
                }
            }

            /// Name, value and origin of each, in the order of the documentation.
            pub fn table(&self) -> Vec<[String; 3]> {
                vec![$([
                    stringify!($name).to_string(),
                    self.$name.value.show(),
                    self.$name.origin.to_string(),
                ],)*]
            }
        }
    };
}
settings!(declare);
