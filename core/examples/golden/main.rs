//! Prints `core/golden/assignments.json`: `cargo run -q -p sluicegate-core --example golden > core/golden/assignments.json`.

mod make;

fn main() {
    print!("{}", make::assignments());
}
