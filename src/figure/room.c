/* the first file of this room replaces this one */ typedef int kh_figure_room;
