keyhole help --completion tcsh
