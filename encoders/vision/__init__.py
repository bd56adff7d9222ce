"""The vision transformer: shapes, stems, the packed forward pass, compilation and export."""
